/** Every word of the interface stands in one catalogue: nothing is said from elsewhere, and nothing in it is said by nobody. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSync } from 'rolldown/utils';
import { en } from '../../renderer/strings/en.ts';
import { text } from '../../renderer/strings/text.ts';
import { isolated, localeFor, withoutMarks } from '../../renderer/models/locale.ts';

const renderer = join(import.meta.dirname, '..', '..', 'renderer');

/** Attributes and properties whose value somebody reads or hears. */
const SPOKEN = new Set([
  'label',
  'title',
  'lead',
  'help',
  'text',
  'action',
  'alt',
  'placeholder',
  'summary',
  'problem',
  'error',
  'valueText',
  'aria-label',
  'aria-description',
  'aria-valuetext',
]);
/** What says its argument. */
const SAYING = new Set(['done', 'failed', 'setProblem', 'alert']);
/** Paths and schemes are the same in every language. */
const NO_WORDS = /^(https?:\/\/|\/)\S*$/;
const isWords = (value: unknown): value is string =>
  typeof value === 'string' && /\p{L}{2}/u.test(value) && !NO_WORDS.test(value);

type Node = { readonly type: string } & Readonly<Record<string, unknown>>;
const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';

function childrenOf(node: Node): Node[] {
  return Object.values(node).flatMap((value) =>
    Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : [],
  );
}

function everyNode(node: Node): Node[] {
  return [node, ...childrenOf(node).flatMap(everyNode)];
}

/** The words that an expression can come to by itself, through choices; those of the catalogue's keys are none. */
function wordsOf(value: unknown): string[] {
  if (!isNode(value)) return [];
  switch (value.type) {
    case 'JSXExpressionContainer':
      return wordsOf(value['expression']);
    case 'ConditionalExpression':
      return [...wordsOf(value['consequent']), ...wordsOf(value['alternate'])];
    case 'LogicalExpression':
      return [...(value['operator'] === '&&' ? [] : wordsOf(value['left'])), ...wordsOf(value['right'])];
    case 'BinaryExpression':
      return value['operator'] === '+' ? [...wordsOf(value['left']), ...wordsOf(value['right'])] : [];
    case 'TemplateLiteral':
      return (value['quasis'] as { value: { cooked: string } }[]).map((quasi) => quasi.value.cooked).filter(isWords);
    case 'Literal':
      return isWords(value['value']) && !Object.hasOwn(en, value['value']) ? [value['value']] : [];
    default:
      return [];
  }
}

function nameOf(value: unknown): string {
  const name = isNode(value) ? (value['name'] ?? value['value']) : undefined;
  return typeof name === 'string' ? name : '';
}

/** Whether a text of the catalogue is taken here. */
function isText(node: Node): boolean {
  return node.type === 'CallExpression' && nameOf(node['callee']) === 'text';
}

/** What a component says that is not in the catalogue, or makes up of several pieces of it. */
function findLiterals(file: string, source: string): string[] {
  const { program, errors } = parseSync(file, source);
  assert.deepEqual(errors, []);
  const found = everyNode(program as unknown as Node).flatMap((node): string[] => {
    switch (node.type) {
      case 'JSXText':
        return isWords(node['value']) ? [node['value'].trim()] : [];
      case 'JSXElement':
      case 'JSXFragment':
        return (node['children'] as Node[]).flatMap(wordsOf);
      case 'JSXAttribute':
      case 'Property':
        return SPOKEN.has(nameOf(node['name'] ?? node['key'])) ? wordsOf(node['value']) : [];
      case 'CallExpression': {
        const callee = node['callee'];
        const name = isNode(callee) && callee.type === 'MemberExpression' ? nameOf(callee['property']) : nameOf(callee);
        return SAYING.has(name) ? (node['arguments'] as Node[]).slice(0, 1).flatMap(wordsOf) : [];
      }
      case 'TemplateLiteral':
      case 'BinaryExpression':
        // Another language would put the pieces into another order.
        return childrenOf(node).flatMap(everyNode).filter(isText).length > 1 && node['operator'] !== '==='
          ? [`glued: ${source.slice(Number(node['start']), Number(node['end']))}`]
          : [];
      default:
        return [];
    }
  });
  return found.map((words) => `${file}: ${words}`);
}

test('whatever a component says is in the catalogue, as a whole sentence', () => {
  const files = globSync('{components,views,api,models}/**/*.{ts,tsx}', { cwd: renderer });
  assert.ok(files.length > 80);
  const sources = [...files, 'app.tsx', 'main.tsx'].map(
    (file) => [file, readFileSync(join(renderer, file), 'utf8')] as const,
  );
  assert.deepEqual(
    sources.flatMap(([file, source]) => findLiterals(file, source)),
    [],
  );
});

test('what is said past the catalogue is found', () => {
  for (const said of [
    '<p>Good morning</p>',
    "<p>{isLate ? 'Good evening' : text('common.close')}</p>",
    "<p>{count > 0 && 'some'}</p>",
    '<p>{`${count} rooms`}</p>',
    '<Button aria-label="Close it" />',
    "<Card title={'Rooms'} />",
    "toast.done('It is saved.')",
    "confirm({ title: 'Really?', action: text('common.close') })",
    "`${text('common.close')} ${text('common.save')}`",
    "text('common.close') + ' ' + text('common.save')",
  ]) {
    assert.notDeepEqual(findLiterals('sample.tsx', `const said = ${said};`), [], said);
  }
  for (const quiet of [
    "<p className='muted small'>{text('common.close')} · {name}</p>",
    '<p>{`@${name}:${server}`}</p>',
  ]) {
    assert.deepEqual(findLiterals('sample.tsx', `const said = ${quiet};`), [], quiet);
  }
});

test('nothing in the catalogue is there for nobody', () => {
  const files = globSync('**/*.{ts,tsx}', { cwd: renderer }).filter((file) => !file.startsWith('strings/'));
  const sources = files.map((file) => readFileSync(join(renderer, file), 'utf8'));
  const nodes = sources.flatMap((source) => everyNode(parseSync('page.tsx', source).program as unknown as Node));
  const said = new Set(nodes.map((node) => (node.type === 'Literal' ? node['value'] : undefined)));
  // Keys that are put together: `line.${status.line}`.
  const patterns = nodes
    .filter(({ type }) => type === 'TemplateLiteral')
    .map((node) => (node['quasis'] as { value: { cooked: string } }[]).map((quasi) => quasi.value.cooked))
    .filter(([first = '']) => /^[\w-]+(\.[\w-]+)*[.-]$/.test(first))
    .map((parts) => new RegExp(`^${parts.map((part) => RegExp.escape(part)).join('.+')}$`));
  assert.ok(patterns.length > 5);
  const unsaid = Object.keys(en).filter((key) => !said.has(key) && !patterns.some((pattern) => pattern.test(key)));
  assert.deepEqual(unsaid, []);
});

test('dates and numbers are those of where the reader is, though the words are English', () => {
  assert.equal(localeFor('en', ['en-GB', 'de']), 'en-GB');
  assert.equal(localeFor('en', ['de-DE', 'de', 'en-US', 'en']), 'en-DE');
  assert.equal(localeFor('en', ['sv']), 'en-SE');
  assert.equal(localeFor('en', []), 'en');
  assert.equal(localeFor('en', ['C@posix']), 'en');
  const at = Date.UTC(2026, 4, 1, 20, 30);
  const format = { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' } as const;
  assert.equal(new Intl.DateTimeFormat(localeFor('en', ['de-DE', 'en']), format).format(at), '1 May 2026, 20:30');
});

test('a name that is written from right to left leaves the sentence around it alone', () => {
  assert.equal(isolated('Nora'), 'Nora');
  const said = text('doctor.checking', { name: 'نورا' });
  assert.equal(said, 'Checking \u2068نورا\u2069…');
  assert.equal(withoutMarks('\u2068نورا\u2069'), 'نورا', 'who copies it from there means the name');
});
