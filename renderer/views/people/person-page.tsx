import type { ReactNode } from 'react';
import type { Device, PersonDetails } from '../../../server/appliance/contract.ts';
import { Refusal } from '../../api/api.ts';
import { useCall } from '../../api/calls.ts';
import { Button, ButtonLink } from '../../components/button.tsx';
import { CopyIcon } from '../../components/copy.tsx';
import { type Column, DataTable } from '../../components/data-table.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { Card, EmptyState, Facts, Loaded, Notice, Page } from '../../components/page.tsx';
import { Ago } from '../../components/time.tsx';
import { useToast } from '../../components/toasts.tsx';
import { formatBytes, formatDay, formatNumber } from '../../models/format.ts';
import { text } from '../../strings/text.ts';
import { PersonRights } from './person-rights.tsx';
import { nameOf, PersonBadges } from './who.tsx';

/** Nobody tells when somebody has signed in with an app. */
const EVERY_MS = 20_000;

/** One person: the account, the devices, and what can be done. */
export function PersonPage({ userId }: { userId: string }): ReactNode {
  const read = useCall('GET /people/{userId}', { params: { userId } }, { everyMs: EVERY_MS });
  const isGone = read.error instanceof Refusal && read.error.status === 404;
  const person = read.data;
  return (
    <Page
      title={person === undefined ? userId : nameOf(person)}
      {...(person === undefined ? {} : { lead: <PersonBadges person={person} /> })}
      actions={
        <ButtonLink kind="quiet" icon="arrow-left" href="#/people">
          {text('person.back')}
        </ButtonLink>
      }
    >
      {isGone ? (
        <Card>
          <EmptyState icon="person" title={text('person.gone')}>
            {text('person.gone-text')}
          </EmptyState>
        </Card>
      ) : (
        <Loaded read={read} lines={8}>
          {(details) => <Details person={details} />}
        </Loaded>
      )}
    </Page>
  );
}

function Details({ person }: { person: PersonDetails }): ReactNode {
  const { userId, createdAt, lastSeenAt, rooms, mediaBytes, isDeactivated, isLocked } = person;
  return (
    <>
      {isDeactivated && <Notice title={text('person.closed-note')}>{text('person.closed-text')}</Notice>}
      {isLocked && !isDeactivated && (
        <Notice tone="warning" title={text('person.locked-note')}>
          {text('person.lock-text')}
        </Notice>
      )}
      <Card title={text('person.facts')}>
        <Facts
          facts={[
            [
              text('person.id'),
              <span key="id" className="row tight">
                <code className="break">{userId}</code>
                <CopyIcon value={userId} what={text('person.id')} />
              </span>,
            ],
            [text('person.since'), formatDay(createdAt)],
            [text('people.seen'), <Ago key="seen" at={lastSeenAt} none={text('common.never')} />],
            [text('person.rooms'), formatNumber(rooms)],
            [text('person.media'), formatBytes(mediaBytes)],
          ]}
        />
      </Card>
      {!isDeactivated && <Devices person={person} />}
      {!isDeactivated && <PersonRights person={person} />}
    </>
  );
}

function Devices({ person }: { person: PersonDetails }): ReactNode {
  const name = nameOf(person);
  return (
    <Card title={text('person.devices')} lead={text('person.devices-lead', { name })}>
      {person.devicesList.length === 0 ? (
        <EmptyState icon="device" title={text('person.devices-none')}>
          {text('person.devices-none-text', { name })}
        </EmptyState>
      ) : (
        <DeviceTable person={person} />
      )}
    </Card>
  );
}

function deviceName({ name, deviceId }: Device): string {
  return name === undefined || name.trim() === '' ? deviceId : name;
}

function DeviceTable({ person: { userId, devicesList, ...face } }: { person: PersonDetails }): ReactNode {
  const remove = useDeed('DELETE /people/{userId}/devices/{deviceId}');
  const confirm = useConfirm();
  const toast = useToast();
  const person = nameOf({ userId, ...face });
  const signOut = async (one: Device): Promise<void> => {
    const device = deviceName(one);
    const isMeant = await confirm({
      title: text('device.sign-out-title', { device }),
      text: text('device.sign-out-text', { name: person }),
      action: text('device.sign-out'),
      isDangerous: true,
    });
    if (!isMeant || (await remove.run({ params: { userId, deviceId: one.deviceId } })) === undefined) return;
    toast.done(text('device.signed-out', { device }));
  };
  const columns: readonly Column<Device>[] = [
    {
      id: 'name',
      title: text('device.name'),
      isLead: true,
      sortBy: deviceName,
      show: (device) => (
        <span className="who-names">
          <strong>{device.name === undefined ? text('device.unnamed') : deviceName(device)}</strong>
          <code className="muted">{device.deviceId}</code>
        </span>
      ),
    },
    {
      id: 'address',
      title: text('device.address'),
      show: ({ lastSeenIp, userAgent }) => (
        <span className="who-names">
          {lastSeenIp === undefined ? <span className="muted">–</span> : <code>{lastSeenIp}</code>}
          {userAgent !== undefined && <span className="muted small break">{userAgent}</span>}
        </span>
      ),
    },
    {
      id: 'seen',
      title: text('device.seen'),
      isRight: true,
      sortBy: ({ lastSeenAt = 0 }) => lastSeenAt,
      show: ({ lastSeenAt }) => <Ago at={lastSeenAt} none={text('common.never')} />,
    },
    {
      id: 'actions',
      title: text('people.actions'),
      isTitleHidden: true,
      isRight: true,
      show: (device) => (
        <Button kind="danger" size="small" onPress={() => signOut(device)}>
          {text('device.sign-out')}
          <span className="unseen"> {deviceName(device)}</span>
        </Button>
      ),
    },
  ];
  return (
    <DataTable label={text('person.devices')} columns={columns} rows={devicesList} keyOf={({ deviceId }) => deviceId} />
  );
}
