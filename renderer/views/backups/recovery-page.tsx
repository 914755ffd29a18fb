import type { ReactNode } from 'react';
import type { RecoverySheet } from '../../../server/appliance/contract.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { Card, Loaded, Page } from '../../components/page.tsx';
import { formatDay } from '../../models/format.ts';
import { text } from '../../strings/text.ts';

/** A sheet to print and put away: all but it is left out when the page is printed. */
export function RecoveryPage(): ReactNode {
  const read = useCall('GET /recovery-sheet');
  return (
    <Page
      title={text('recovery.title')}
      lead={text('recovery.lead')}
      actions={
        <>
          <ButtonLink kind="quiet" icon="arrow-left" href="#/backups">
            {text('recovery.back')}
          </ButtonLink>
          <Button kind="primary" icon="print" isDisabled={read.data === undefined} onPress={() => print()}>
            {text('recovery.print')}
          </Button>
        </>
      }
    >
      {read.data === undefined ? (
        <Card>
          <Loaded read={read} lines={8}>
            {() => null}
          </Loaded>
        </Card>
      ) : (
        <Sheet sheet={read.data} />
      )}
    </Page>
  );
}

function Sheet({
  sheet: { serverName, signingKey, keyId, keyFile, passphraseHint = '', madeAt },
}: {
  sheet: RecoverySheet;
}): ReactNode {
  return (
    <section className="sheet-paper" aria-labelledby="sheet-title">
      <h2 id="sheet-title">{text('recovery.heading', { name: serverName })}</h2>
      <p>{text('recovery.keep')}</p>
      <dl>
        <dt>{text('recovery.server')}</dt>
        <dd>
          <code>{serverName}</code>
        </dd>
        <dt>{text('recovery.key')}</dt>
        <dd>
          <code>{signingKey}</code>
        </dd>
        <dt>{text('recovery.key-id')}</dt>
        <dd>
          <code>{keyId}</code>
        </dd>
        <dt>{text('recovery.hint')}</dt>
        <dd>{passphraseHint === '' ? text('recovery.hint-none') : passphraseHint}</dd>
        <dt>{text('recovery.passphrase')}</dt>
        <dd className="sheet-gap">
          <small className="unprinted">{text('recovery.passphrase-write')}</small>
        </dd>
        <dt>{text('recovery.printed')}</dt>
        <dd>{formatDay(madeAt)}</dd>
      </dl>
      <h3>{text('recovery.lost')}</h3>
      <ol>
        <li>{text('recovery.step-1')}</li>
        <li>{text('recovery.step-2')}</li>
        <li>{text('recovery.step-3')}</li>
      </ol>
      <h3>{text('recovery.bare')}</h3>
      <p>{text('recovery.bare-lead')}</p>
      <ol>
        <li>{text('recovery.bare-1')}</li>
        <li className="break">{text('recovery.bare-2', { file: keyFile })}</li>
        <li>{text('recovery.bare-3')}</li>
        <li>{text('recovery.bare-4')}</li>
      </ol>
    </section>
  );
}
