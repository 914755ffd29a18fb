import { createHash } from 'node:crypto';
import { Reply } from '../../../http/route.ts';
import type { JsonObject } from '../../../matrix/json.ts';

/*
 * The pages people see in a browser: the stages of interactive authentication, and the setup of the first account. They
 * load nothing from anywhere; scripts and styles are allowed by their hashes only.
 */

const STYLE = `
:root { color-scheme: light dark; --accent: #0a6c5c; --ink: #1b2320; --paper: #fbfaf7; --line: #c9cec8; --bad: #a3201a; }
@media (prefers-color-scheme: dark) {
  :root { --accent: #5fd0b8; --ink: #edf1ee; --paper: #16191a; --line: #4a5452; --bad: #ff9a91; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--paper); color: var(--ink); font: 1.0625rem/1.5 system-ui, sans-serif; }
main { max-width: 30rem; margin: 0 auto; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { width: 100%; padding: .6rem .7rem; font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .5rem; }
button { margin-top: 1.5rem; padding: .7rem 1.4rem; font: inherit; font-weight: 600; color: var(--paper); background: var(--accent); border: 0; border-radius: .5rem; cursor: pointer; }
button[disabled] { opacity: .6; cursor: progress; }
input:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.hint { margin: .25rem 0 0; font-size: .9375rem; opacity: .85; }
.error { color: var(--bad); font-weight: 600; }
.error:empty { display: none; }
a { color: var(--accent); }
h2 { font-size: 1.2rem; margin: 1.5rem 0 .5rem; }
li { margin: .4rem 0; }
code { font-size: 1em; padding: .1rem .3rem; border: 1px solid var(--line); border-radius: .3rem; overflow-wrap: anywhere; }
[hidden] { display: none; }
`;

// One script for all pages: sends the form as JSON, shows what went wrong, and then the part that comes after.
const FORM_SCRIPT = `
'use strict';
const form = document.querySelector('form');
const error = document.getElementById('error');
const button = form.querySelector('button');
const finished = (answer) => {
  const done = document.getElementById('done');
  const shown = { homeserver: new URL('..', location.href).href.replace(/\\/$/, ''), ...answer };
  for (const slot of done.querySelectorAll('[data-slot]')) slot.textContent = shown[slot.dataset.slot] || '';
  const isPlain = String(shown.homeserver).startsWith('http:');
  for (const way of done.querySelectorAll('[data-if]')) way.hidden = (way.dataset.if === 'http:') !== isPlain;
  document.getElementById('ask').hidden = true;
  done.hidden = false;
  const heading = done.querySelector('h1');
  heading.tabIndex = -1;
  heading.focus();
  if (form.dataset.login !== undefined && window.matrixLogin) window.matrixLogin.onLogin(answer);
  if (form.dataset.tellOpener === undefined) return;
  if (window.onAuthDone) window.onAuthDone();
  else if (window.opener && window.opener.postMessage) window.opener.postMessage('authDone', '*');
};
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = '';
  const fields = { ...JSON.parse(form.dataset.more || '{}'), ...Object.fromEntries(new FormData(form)) };
  if (fields.confirmation !== undefined && fields.confirmation !== fields.password) {
    error.textContent = 'The two passwords are not the same.';
    document.getElementById('confirmation').focus();
    return;
  }
  delete fields.confirmation;
  button.disabled = true;
  try {
    const response = await fetch(form.dataset.action, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(fields),
    });
    const answer = await response.json();
    if (response.ok) finished(answer);
    else if (answer.errcode === 'M_LIMIT_EXCEEDED')
      error.textContent = 'Too many tries. Wait ' + Math.ceil((answer.retry_after_ms || 1000) / 1000) + ' seconds, then try again.';
    else error.textContent = answer.error || 'That did not work.';
  } catch {
    error.textContent = 'The server did not answer. Please try again.';
  } finally {
    button.disabled = false;
  }
});
`;

const sha256 = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    `script-src ${sha256(FORM_SCRIPT)}`,
    `style-src ${sha256(STYLE)}`,
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
};

/** Text as it may stand in HTML, inside of attributes too. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function page(title: string, body: string, script: boolean, status = 200): Reply {
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${body}
</main>
${script ? `<script>${FORM_SCRIPT}</script>` : ''}
</body>
</html>
`;
  return new Reply({ status, headers: HEADERS, body: html });
}

/** A page that only says something. */
export function messagePage(title: string, message: string, status: number): Reply {
  return page(title, `<h1>${escapeHtml(title)}</h1>\n<p>${escapeHtml(message)}</p>`, false, status);
}

const NEEDS_SCRIPT = '<noscript><p class="error">This page needs JavaScript to send the form.</p></noscript>';

/** What the page of a stage asks for. */
interface StageForm {
  readonly title: string;
  readonly fields: string;
  readonly button: string;
}

const STAGE_FORMS: Readonly<Record<string, StageForm>> = {
  'm.login.dummy': {
    title: 'Confirm',
    fields: '<p>The application that sent you here asks you to confirm that you want to go on.</p>',
    button: 'Go on',
  },
  'm.login.password': {
    title: 'Confirm that it is you',
    fields: `<p>The application that sent you here wants to do something that needs your password.</p>
<label for="user">Username</label>
<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>`,
    button: 'Confirm',
  },
  'm.login.registration_token': {
    title: 'Registration token',
    fields: `<p>New accounts on this server need a token from its administrator.</p>
<label for="token">Token</label>
<input id="token" name="token" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64" required>`,
    button: 'Use this token',
  },
};

/** The fallback page of a stage (spec: "Fallback"); undefined for stages without one. */
export function stagePage(stage: string, action: string): Reply | undefined {
  const form = Object.hasOwn(STAGE_FORMS, stage) ? STAGE_FORMS[stage] : undefined;
  if (form === undefined) return undefined;
  return page(
    form.title,
    `<div id="ask">
<h1>${form.title}</h1>
${NEEDS_SCRIPT}
<form method="post" data-action="${escapeHtml(action)}" data-tell-opener>
${form.fields}
<p id="error" class="error" role="alert"></p>
<button type="submit">${form.button}</button>
</form>
</div>
<div id="done" hidden>
<h1>Thank you</h1>
<p>You can close this window and go back to the application.</p>
</div>`,
    true,
  );
}

/** The page that does a whole login (spec: "Login Fallback"). `more` goes into the login request as it is. */
export function loginPage(options: { serverName: string; action: string; more: JsonObject }): Reply {
  const serverName = escapeHtml(options.serverName);
  return page(
    'Log in',
    `<div id="ask">
<h1>Log in to ${serverName}</h1>
${NEEDS_SCRIPT}
<form method="post" data-action="${escapeHtml(options.action)}" data-more="${escapeHtml(JSON.stringify(options.more))}" data-login>
<label for="user">Username</label>
<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<p id="error" class="error" role="alert"></p>
<button type="submit">Log in</button>
</form>
</div>
<div id="done" hidden>
<h1>You are logged in</h1>
<p>You can go back to the application.</p>
</div>`,
    true,
  );
}

/** The fields of a form that makes an account. */
function accountFields(serverName: string, length: number): string {
  return `<label for="username">Username</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" pattern="[A-Za-z0-9._=\\-\\/+]+" aria-describedby="username-hint" required autofocus>
<p id="username-hint" class="hint">Others will find you as @username:${serverName}. It cannot be changed later.</p>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="${length}" maxlength="512" aria-describedby="password-hint" required>
<p id="password-hint" class="hint">At least ${length} characters. A few words in a row are easy to keep in mind.</p>
<label for="confirmation">Password, once more</label>
<input id="confirmation" name="confirmation" type="password" autocomplete="new-password" minlength="${length}" maxlength="512" required>`;
}

/** How one gets from a new account to a client. Those that insist on https:// are of no use without it. */
const CONNECTING = `<p>Your account is <code data-slot="user_id"></code>.</p>
<p>The address of your server is <code data-slot="homeserver"></code>.</p>
<h2>Now sign in with an app</h2>
<ol>
<li data-if="https:">On a phone, install <a href="https://element.io/download">Element X</a> and choose to sign in manually. On a computer, open <a href="https://app.element.io/#/login">app.element.io</a>.</li>
<li data-if="http:">Install <a href="https://fluffychat.im/">FluffyChat</a>, on a phone or a computer, and choose to sign in. It works while you are in the same home network as the server.</li>
<li>Where it names the homeserver or account provider, change that to <code data-slot="homeserver"></code>.</li>
<li>Sign in as <code data-slot="user_id"></code> with the password you have just chosen.</li>
</ol>`;

/** The page that tells the device it is opened on how to sign in. `address`: what to give apps as homeserver. */
export function connectPage(options: { serverName: string; address: string }): Reply {
  const serverName = escapeHtml(options.serverName);
  return page(
    `Connect to ${options.serverName}`,
    `<h1>This device gets to ${serverName}</h1>
<ol>
<li>Install an app for Matrix, open it, and choose to sign in on another server.</li>
<li>Where it asks for the homeserver, enter <code>${escapeHtml(options.address)}</code>.</li>
<li>Sign in with your username and password.</li>
</ol>
${options.address.startsWith('https:') ? '' : '<p class="hint">FluffyChat and Nheko take an address that begins with http://; many other apps do not.</p>'}
<p class="hint">No account yet? Whoever runs this server can invite you.</p>`,
    false,
  );
}

/** The page that makes an account for somebody who was invited. */
export function joinPage(options: {
  serverName: string;
  minPasswordLength: number;
  action: string;
  token: string;
}): Reply {
  const serverName = escapeHtml(options.serverName);
  return page(
    `You are invited to ${options.serverName}`,
    `<div id="ask">
<h1>You are invited to ${serverName}</h1>
<p>Choose a name and a password: they are your account for messages and calls on this server.</p>
${NEEDS_SCRIPT}
<form method="post" data-action="${escapeHtml(options.action)}">
<input type="hidden" name="token" value="${escapeHtml(options.token)}">
${accountFields(serverName, options.minPasswordLength)}
<p id="error" class="error" role="alert"></p>
<button type="submit">Make my account</button>
</form>
</div>
<div id="done" hidden>
<h1>Welcome</h1>
${CONNECTING}
<p class="hint">Keep this page open, or write the two lines above down, until you are logged in.</p>
</div>`,
    true,
  );
}

/** The page that makes the first account. */
export function setupPage(options: {
  serverName: string;
  minPasswordLength: number;
  action: string;
  token: string;
}): Reply {
  const serverName = escapeHtml(options.serverName);
  const length = options.minPasswordLength;
  return page(
    'Set up your Hearth server',
    `<div id="ask">
<h1>Set up your Hearth server</h1>
<p>Make the first account on <strong>${serverName}</strong>. It is yours, and it is the one that administers the server.</p>
${NEEDS_SCRIPT}
<form method="post" data-action="${escapeHtml(options.action)}">
<input type="hidden" name="token" value="${escapeHtml(options.token)}">
${accountFields(serverName, length)}
<p id="error" class="error" role="alert"></p>
<button type="submit">Make the account</button>
</form>
</div>
<div id="done" hidden>
<h1>Your server is ready</h1>
${CONNECTING}
</div>`,
    true,
  );
}
