import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import type { RoomDetails } from '../../../server/appliance/contract.ts';
import { useJob, useJobEndings, useWatch } from '../../api/calls.ts';
import { Button } from '../../components/button.tsx';
import { useDeed } from '../../components/deed.tsx';
import { useConfirm } from '../../components/dialog.tsx';
import { JobNotice } from '../../components/jobs.tsx';
import { Card } from '../../components/page.tsx';
import { useToast } from '../../components/toasts.tsx';
import { formatBytes, formatNumber } from '../../models/format.ts';
import { wordToType } from '../../models/room-words.ts';
import { text } from '../../strings/text.ts';
import { roomName } from './room-name.tsx';

/** Leaving, blocking and removing a room. */
export function RoomActions({ room }: { room: RoomDetails }): ReactNode {
  const [work, setWork] = useState<{ readonly kind: 'leave' | 'purge'; readonly jobId: string }>();
  const jobId = work?.jobId;
  const isUnderWay = useJob(jobId)?.state === 'running';
  // A room that was removed, or never was here, may still be blocked.
  const isKept = room.version !== '';
  const [, go] = useLocation();
  const toast = useToast();
  // Of a room that was removed it is told below how much went.
  useWatch(jobId, work?.kind === 'purge' ? 'every-end' : 'failures');
  useJobEndings((job) => {
    // What is left of it is nothing to look at.
    if (job.id !== jobId || job.kind !== 'purge' || job.state !== 'done') return;
    const { events = 0, freedBytes = 0 } = figuresOf(job.result);
    const removed = formatNumber(events);
    toast.done(
      freedBytes > 0
        ? text('room.purged', { events: removed, size: formatBytes(freedBytes) })
        : text('room.purged-same', { events: removed }),
    );
    go('/rooms');
  });
  return (
    <Card title={text('room.actions')}>
      <JobNotice jobId={jobId} />
      <ul className="danger-zone">
        {isKept && (
          <Leave room={room} isDisabled={isUnderWay} onStarted={(id) => setWork({ kind: 'leave', jobId: id })} />
        )}
        <Block room={room} />
        {isKept && (
          <Purge room={room} isDisabled={isUnderWay} onStarted={(id) => setWork({ kind: 'purge', jobId: id })} />
        )}
      </ul>
    </Card>
  );
}

function figuresOf(result: unknown): { readonly events?: number; readonly freedBytes?: number } {
  return typeof result === 'object' && result !== null ? result : {};
}

interface WorkProps {
  readonly room: RoomDetails;
  readonly isDisabled: boolean;
  readonly onStarted: (jobId: string) => void;
}

function Leave({ room, isDisabled, onStarted }: WorkProps): ReactNode {
  const leave = useDeed('POST /rooms/{roomId}/leave');
  const confirm = useConfirm();
  const { roomId, localMembers } = room;
  return (
    <li>
      <div>
        <h3>{text('room.leave')}</h3>
        <p className="muted">{text(localMembers === 0 ? 'room.leave-nobody' : 'room.leave-lead')}</p>
      </div>
      <Button
        kind="danger"
        icon="leave"
        isBusy={leave.isRunning}
        isDisabled={isDisabled || localMembers === 0}
        onPress={async () => {
          const isMeant = await confirm({
            title: text('room.leave-title', { name: roomName(room) }),
            text: text('room.leave-text', { count: localMembers }),
            action: text('room.leave'),
            isDangerous: true,
          });
          if (!isMeant) return;
          const started = await leave.run({ params: { roomId } });
          if (started !== undefined) onStarted(started.jobId);
        }}
      >
        {text('room.leave')}
      </Button>
    </li>
  );
}

function Block({ room }: { room: RoomDetails }): ReactNode {
  const act = useDeed('PUT /rooms/{roomId}/blocked');
  const confirm = useConfirm();
  const toast = useToast();
  const { roomId, isBlocked } = room;
  return (
    <li>
      <div>
        <h3>{text('room.block')}</h3>
        <p className="muted">{text('room.block-lead')}</p>
      </div>
      <Button
        icon={isBlocked ? 'check' : 'skipped'}
        isBusy={act.isRunning}
        onPress={async () => {
          const isMeant =
            isBlocked ||
            (await confirm({
              title: text('room.block-title', { name: roomName(room) }),
              text: text('room.block-lead'),
              action: text('room.block'),
            }));
          if (!isMeant || (await act.run({ params: { roomId }, body: { blocked: !isBlocked } })) === undefined) return;
          toast.done(text(isBlocked ? 'room.was-unblocked' : 'room.was-blocked'));
        }}
      >
        {text(isBlocked ? 'room.unblock' : 'room.block')}
      </Button>
    </li>
  );
}

function Purge({ room, isDisabled, onStarted }: WorkProps): ReactNode {
  const purge = useDeed('POST /rooms/{roomId}/purge');
  const confirm = useConfirm();
  const { roomId, events, bytes, localMembers, members } = room;
  return (
    <li>
      <div>
        <h3>{text('room.purge')}</h3>
        <p className="muted">{text('room.purge-lead')}</p>
      </div>
      <Button
        kind="danger"
        icon="trash"
        isBusy={purge.isRunning}
        isDisabled={isDisabled}
        onPress={async () => {
          const isMeant = await confirm({
            title: text('room.purge-title', { name: roomName(room) }),
            text: (
              <>
                <p>{text('room.purge-text', { events: formatNumber(events), size: formatBytes(bytes) })}</p>
                <p>{text(members > localMembers ? 'room.purge-elsewhere' : 'room.purge-alone')}</p>
              </>
            ),
            action: text('room.purge'),
            isDangerous: true,
            typed: wordToType(room, text('room.purge-word')),
          });
          if (!isMeant) return;
          const started = await purge.run({ params: { roomId } });
          if (started !== undefined) onStarted(started.jobId);
        }}
      >
        {text('room.purge')}
      </Button>
    </li>
  );
}
