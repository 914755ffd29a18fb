import { Type } from '../../http/type.ts';
import { call, type ControlCall } from '../control/call.ts';
import type { SettingValue } from '../contract.ts';
import type { SettingsDesk } from './settings.ts';

export function settingsCalls(desk: SettingsDesk): ControlCall[] {
  return [
    call('GET /settings', { handle: () => desk.list() }),
    call('PUT /settings', {
      body: Type.Object({
        values: Type.Unsafe<Record<string, SettingValue>>(VALUES),
        was: Type.Optional(Type.Unsafe<Record<string, SettingValue>>(VALUES)),
      }),
      handle: ({ body: { values, was } }) => desk.change(values, was),
    }),
    call('GET /registration', { handle: () => desk.registration() }),
    call('PUT /registration', {
      body: Type.Object({
        mode: Type.Union([Type.Literal('closed'), Type.Literal('invitation'), Type.Literal('open')]),
      }),
      handle: ({ body: { mode } }) => desk.setRegistration(mode),
    }),
  ];
}

const VALUES = {
  type: 'object',
  maxProperties: 200,
  additionalProperties: {
    anyOf: [
      { type: 'string', maxLength: 10_000 },
      { type: 'number' },
      { type: 'boolean' },
      { type: 'null' },
      { type: 'array', maxItems: 1000, items: { type: 'string', maxLength: 1000 } },
    ],
  },
};
