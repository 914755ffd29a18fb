import { type ReactNode, useState } from 'react';
import { useCall } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { CodeBlock } from '../../components/copy.tsx';
import { TextField } from '../../components/fields.tsx';
import { Card, Details } from '../../components/page.tsx';
import { coturnConfig, isHost, makeTurnSecret, RELAY_PORTS, turnUris } from '../../models/coturn.ts';
import { text } from '../../strings/text.ts';

/** What is to be filled in for a TURN server that was set up by the guide. */
export interface Proposal {
  readonly uris: readonly string[];
  readonly secret: string;
}

/** How somebody gets a TURN server of their own. */
export function TurnGuide({
  isOpen,
  hasSecret,
  onUse,
}: {
  isOpen: boolean;
  /** One is set, which nobody is shown again. */
  hasSecret: boolean;
  onUse: (proposal: Proposal) => void;
}): ReactNode {
  const serverName = useCall('GET /status').data?.serverName;
  const [secret] = useState(makeTurnSecret);
  const [typed, setTyped] = useState<string>();
  const realm = serverName ?? 'example.com';
  const host = (typed ?? `turn.${realm.replace(/:\d+$/, '')}`).trim();
  const isGood = isHost(host);
  const ports = { first: String(RELAY_PORTS.first), last: String(RELAY_PORTS.last) };
  return (
    <Card title={text('calls.guide')} lead={text('calls.guide-lead')}>
      <Details summary={text('calls.guide-show')} isOpen={isOpen}>
        <ol className="numbered">
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-machine')}</p>
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-name')}</p>
              <TextField
                label={text('calls.guide-host')}
                value={typed ?? host}
                onChange={setTyped}
                isCode
                autoComplete="off"
                problem={isGood ? undefined : text('calls.guide-host-wrong')}
              />
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-install')}</p>
              <CodeBlock title={text('calls.guide-terminal-install')} code="sudo apt install coturn" />
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-config')}</p>
              {hasSecret && <p className="muted small">{text('calls.guide-config-other')}</p>}
              <CodeBlock
                title="/etc/turnserver.conf"
                code={coturnConfig({ realm, secret, behindRouter: text('calls.guide-router') })}
              />
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-ports', ports)}</p>
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-start')}</p>
              <CodeBlock
                title={text('calls.guide-terminal-start')}
                code={'sudo systemctl enable coturn\nsudo systemctl restart coturn'}
              />
            </div>
          </li>
          <li>
            <div className="stack tight">
              <p>{text('calls.guide-fill')}</p>
              <div className="row">
                <Button icon="check" isDisabled={!isGood} onPress={() => onUse({ uris: turnUris(host), secret })}>
                  {text('calls.guide-use')}
                </Button>
              </div>
            </div>
          </li>
        </ol>
      </Details>
    </Card>
  );
}
