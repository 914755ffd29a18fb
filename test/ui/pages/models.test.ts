import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Setting } from '../../../server/appliance/contract.ts';
import { reachOfLink } from '../../../renderer/models/link-reach.ts';
import { makeUpPassword } from '../../../renderer/models/passwords.ts';
import { linkTo, partsAfter } from '../../../renderer/models/place.ts';
import { joinQuantity, splitQuantity } from '../../../renderer/models/quantity.ts';
import { wordToType } from '../../../renderer/models/room-words.ts';
import { draftOf, isChange, valueOf } from '../../../renderer/models/setting-draft.ts';

test('sizes and durations are shown in the largest unit that fits, and are the same again afterwards', () => {
  assert.deepEqual(splitQuantity('bytes', 50 * 2 ** 20), { amount: '50', unit: 'mib' });
  assert.deepEqual(splitQuantity('bytes', 1536), { amount: '1536', unit: 'byte' });
  assert.deepEqual(splitQuantity('bytes', 0), { amount: '0', unit: 'mib' });
  assert.deepEqual(splitQuantity('duration', 36 * 3_600_000), { amount: '36', unit: 'hour' });
  assert.deepEqual(splitQuantity('duration', null), { amount: '', unit: 'day' });
  for (const value of [0, 1, 1023, 1024, 50_000_000, 2 ** 40]) {
    assert.equal(joinQuantity('bytes', splitQuantity('bytes', value)), value);
  }
  for (const value of [0, 1000, 90_000, 86_400_000, 90 * 86_400_000, 1500]) {
    assert.equal(joinQuantity('duration', splitQuantity('duration', value)), value);
  }
  assert.equal(joinQuantity('bytes', { amount: '1,5', unit: 'kib' }), 1536);
  for (const amount of ['-1', '1e3', 'a few', '99999999999999']) {
    assert.equal(joinQuantity('bytes', { amount, unit: 'gib' }), undefined, amount);
  }
});

test('an address leads to what it was made for, whatever that is called', () => {
  for (const id of ['@nora:brook.example', '!a/b#c?d:mill.example', '@50%:brook.example', '!Ünder:x']) {
    const link = linkTo('rooms', id);
    assert.match(link, /^#\/rooms\/[^/?#]+$/);
    assert.deepEqual(partsAfter(link.slice(1)), [id]);
  }
  assert.deepEqual(partsAfter('/rooms'), []);
  assert.deepEqual(partsAfter('/people/@50%:x'), ['@50%:x'], 'typed by hand');
});

test('an address of this machine, of the home network and of the world are told apart', () => {
  for (const [reach, hosts] of [
    ['here', ['localhost:8008', '127.0.0.1', '[::1]:8008']],
    ['home', ['192.168.1.7:8008', '10.0.0.3', '172.20.1.1', 'hearth.local', 'hearth', '[fd00::7]', '100.100.1.1']],
    ['anywhere', ['chat.example.com', '93.184.216.34', '172.32.1.1', '[2001:db9::1]', 'local.example']],
  ] as const) {
    for (const host of hosts) assert.equal(reachOfLink(`http://${host}/_hearth/join?token=x`), reach, host);
  }
});

test('what has to be typed before a room is removed can be typed', () => {
  assert.equal(wordToType({ name: ' Garden ' }, 'remove'), 'Garden');
  for (const name of ['', '   ', '🌻🌻🌻', 'two  spaces', 'x'.repeat(33)]) {
    assert.equal(wordToType({ name }, 'remove'), 'remove', name);
  }
});

test('a setting can have no limit at all, and numbers a comma', () => {
  const cache: Setting = { ...setting, kind: 'bytes', value: 'never', default: 2 ** 30, never: 'as much as there is' };
  const draft = draftOf(cache);
  assert.deepEqual(draft, { kind: 'quantity', quantity: { amount: '', unit: 'never' } });
  assert.equal(valueOf(cache, draft), 'never');
  assert.equal(isChange(cache, draft), false);
  assert.equal(valueOf(cache, { kind: 'quantity', quantity: { amount: '3', unit: 'gib' } }), 3 * 2 ** 30);
  const rate: Setting = { ...setting, kind: 'number', value: 0.2 };
  assert.equal(valueOf(rate, { kind: 'text', text: ' 0,01 ' }), 0.01);
  assert.equal(valueOf(rate, { kind: 'text', text: '1e9' }), undefined);
});

test('passwords that are made up are not alike and hold nothing that is easily mistaken', () => {
  const made = new Set(Array.from({ length: 200 }, makeUpPassword));
  assert.equal(made.size, 200);
  for (const password of made) assert.match(password, /^[a-km-np-z2-9]{4}(-[a-km-np-z2-9]{4}){3}$/);
});

const setting: Setting = {
  path: 'a',
  group: 'A',
  title: 'A',
  help: '',
  kind: 'text',
  value: 'now',
  default: null,
  isSet: true,
  needsRestart: false,
};

test('a setting that is typed back to what it was is no change', () => {
  assert.equal(isChange(setting, { kind: 'text', text: 'now' }), false);
  assert.equal(isChange(setting, { kind: 'text', text: 'then' }), true);
  assert.equal(isChange(setting, { kind: 'reset' }), true);
  assert.equal(isChange({ ...setting, isSet: false }, { kind: 'reset' }), false);
  const flag: Setting = { ...setting, kind: 'switch', value: true };
  assert.equal(isChange(flag, { kind: 'switch', isOn: true }), false);
  assert.deepEqual(draftOf(flag), { kind: 'switch', isOn: true });
  const secret: Setting = { ...setting, kind: 'secret', value: null };
  assert.equal(isChange(secret, { kind: 'text', text: '' }), false, 'a secret that is not typed anew stays');
  assert.equal(valueOf(secret, { kind: 'text', text: ' with spaces ' }), ' with spaces ');
});

test('a field that is cleared puts the setting back, and what is no number is none', () => {
  assert.equal(valueOf(setting, { kind: 'text', text: ' ' }), null);
  const number: Setting = { ...setting, kind: 'number', value: 3 };
  assert.equal(valueOf(number, { kind: 'text', text: '12' }), 12);
  assert.equal(valueOf(number, { kind: 'text', text: '' }), null);
  assert.equal(valueOf(number, { kind: 'text', text: 'twelve' }), undefined);
  const list: Setting = { ...setting, kind: 'list', value: ['a'] };
  assert.deepEqual(valueOf(list, { kind: 'text', text: ' a \n\n b' }), ['a', 'b']);
  assert.equal(valueOf(list, { kind: 'text', text: '' }), null, 'not an empty list where that is not the default');
  assert.deepEqual(valueOf({ ...list, default: [] }, { kind: 'text', text: '' }), []);
});
