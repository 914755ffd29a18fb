import type { RecoverySheet } from '../contract.ts';

/** A page to print and put away: with it and a backup, the server can be set up again elsewhere. */
export function recoverySheet(facts: Omit<RecoverySheet, 'html'>): RecoverySheet {
  const { serverName, signingKey, keyId, keyFile, passphraseHint, madeAt } = facts;
  const row = (name: string, value: string): string => `<tr><th>${escape(name)}</th><td>${value}</td></tr>`;
  const code = (text: string): string => `<code>${escape(text)}</code>`;
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Recovery sheet of ${escape(serverName)}</title>
<style>
body { font: 12pt/1.5 system-ui, sans-serif; max-width: 42em; margin: 2em auto; color: #000; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #777; padding: .5em; text-align: left; vertical-align: top; }
th { width: 12em; font-weight: 600; }
code { font: 11pt/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
@page { margin: 2cm; }
</style>
</head>
<body>
<h1>Recovery sheet</h1>
<p>Keep this sheet where you keep other important papers. Whoever has the signing key can pass for this server.</p>
<table>
${row('Server name', code(serverName))}
${row('Signing key', code(signingKey))}
${row('Name of the key', code(keyId))}
${row('Hint for the passphrase of backups', passphraseHint === undefined ? 'none was noted' : escape(passphraseHint))}
${row('Passphrase', '<br><br>')}
${row('Printed on', escape(new Date(madeAt).toISOString().slice(0, 10)))}
</table>
<h2>If the server is lost</h2>
<ol>
<li>Install Hearth on another machine and open it.</li>
<li>Choose to restore a backup, pick the newest backup file, and type its passphrase.</li>
<li>Let the server name lead to the new machine, as it led to the old one.</li>
</ol>
<h2>If there is no backup either</h2>
<p>Accounts and messages are lost then, but the server can still be the one that others know.</p>
<ol>
<li>Install Hearth on another machine, and set it up with the server name that stands above.</li>
<li>Quit Hearth. Open the file ${code(keyFile)} in its data folder (the page About says where that is) with a text editor.</li>
<li>Replace what is in it by the signing key above, on one line, letter by letter, and start Hearth again.</li>
<li>Give everybody the name they had, and have them invited into their rooms again.</li>
</ol>
</body>
</html>
`;
  return { ...facts, html };
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
