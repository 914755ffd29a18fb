import { route, type Route } from '../../../http/route.ts';
import { jsonValue, userId } from '../../../http/schemas.ts';
import { Type } from '../../../http/type.ts';
import { forbidden, invalidParam, MatrixError } from '../../../matrix/errors.ts';
import {
  type AnyPushRuleKind,
  isPushRuleKind,
  PUSH_RULE_KINDS,
  type PushRuleKind,
} from '../../../matrix/push-rules/rules.ts';
import type { PushRules } from '../service/rules.ts';
import { pushRulesEvent } from '../sync.ts';

const PATH = '/_matrix/client/v3/pushrules';
const RULE = `${PATH}/global/:kind/:ruleId`;

const kind = Type.Unsafe<PushRuleKind>(
  Type.Refine(Type.String(), isPushRuleKind, () => `must be one of ${PUSH_RULE_KINDS.join(', ')}`),
);
const ruleParams = Type.Object({ kind, ruleId: Type.String() });
/** Also kinds of which there are default rules only. */
const anyKind = Type.Unsafe<AnyPushRuleKind>(
  Type.Refine(
    Type.String(),
    (text) => text === 'postcontent' || isPushRuleKind(text),
    () => `must be one of ${PUSH_RULE_KINDS.join(', ')}`,
  ),
);
const anyRuleParams = Type.Object({ kind: anyKind, ruleId: Type.String() });
const anything = Type.Array(jsonValue);

/** Spec: client-server API, "Push Rules: API". */
export function ruleRoutes(rules: PushRules): Route[] {
  return [
    route({
      method: 'GET',
      path: `${PATH}/`,
      auth: 'user',
      handle: ({ requester }) => pushRulesEvent(rules, requester.userId),
    }),
    route({
      method: 'GET',
      path: `${PATH}/global/`,
      auth: 'user',
      handle: ({ requester }) => rules.list(requester.userId),
    }),
    // Not in the spec, but Synapse has always had it.
    route({
      method: 'GET',
      path: `${PATH}/global/:kind/`,
      auth: 'user',
      params: Type.Object({ kind: anyKind }),
      handle: ({ requester, params }) => rules.list(requester.userId)[params.kind] ?? [],
    }),
    route({
      method: 'GET',
      path: RULE,
      auth: 'user',
      params: anyRuleParams,
      handle: ({ requester, params }) => rules.get(requester.userId, params.kind, params.ruleId),
    }),
    route({
      method: 'PUT',
      path: RULE,
      auth: 'user',
      params: ruleParams,
      query: Type.Object({ before: Type.Optional(Type.String()), after: Type.Optional(Type.String()) }),
      body: Type.Object({
        actions: anything,
        conditions: Type.Optional(anything),
        pattern: Type.Optional(Type.String()),
      }),
      handle: ({ requester, params, query, body }) => {
        if (params.ruleId === '') throw invalidParam('A rule needs an ID');
        rules.put(requester.userId, params.kind, params.ruleId, body, query);
        return {};
      },
    }),
    route({
      method: 'DELETE',
      path: RULE,
      auth: 'user',
      params: ruleParams,
      handle: ({ requester, params }) => {
        rules.remove(requester.userId, params.kind, params.ruleId);
        return {};
      },
    }),
    ...attributeRoutes(rules),
    // Paths that are not there at all get 404; under this one, clients have always got 400.
    ...(['GET', 'PUT', 'DELETE'] as const).map((method) =>
      route({ method, path: `${PATH}/*`, auth: 'user', handle: refuse }),
    ),
    // The same as account data, which cannot be set as such.
    route({
      method: 'GET',
      path: '/_matrix/client/v3/user/:userId/account_data/m.push_rules',
      auth: 'user',
      guests: true,
      params: Type.Object({ userId }),
      handle: ({ requester, params }) => {
        if (requester.userId !== params.userId) throw forbidden('Account data can only be read by their owner');
        return pushRulesEvent(rules, params.userId);
      },
    }),
  ];
}

function attributeRoutes(rules: PushRules): Route[] {
  return [
    route({
      method: 'GET',
      path: `${RULE}/enabled`,
      auth: 'user',
      params: anyRuleParams,
      handle: ({ requester, params }) => ({
        enabled: rules.get(requester.userId, params.kind, params.ruleId).enabled,
      }),
    }),
    route({
      method: 'PUT',
      path: `${RULE}/enabled`,
      auth: 'user',
      params: anyRuleParams,
      body: Type.Object({ enabled: Type.Boolean() }),
      handle: ({ requester, params, body }) => {
        rules.setEnabled(requester.userId, params.kind, params.ruleId, body.enabled);
        return {};
      },
    }),
    route({
      method: 'GET',
      path: `${RULE}/actions`,
      auth: 'user',
      params: anyRuleParams,
      handle: ({ requester, params }) => ({
        actions: rules.get(requester.userId, params.kind, params.ruleId).actions,
      }),
    }),
    route({
      method: 'PUT',
      path: `${RULE}/actions`,
      auth: 'user',
      params: anyRuleParams,
      body: Type.Object({ actions: anything }),
      handle: ({ requester, params, body }) => {
        rules.setActions(requester.userId, params.kind, params.ruleId, body.actions);
        return {};
      },
    }),
  ];
}

function refuse(): never {
  throw new MatrixError('M_UNRECOGNIZED', 'There is nothing under this path', { status: 400 });
}
