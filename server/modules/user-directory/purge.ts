import type { RoomPurge } from '../../rooms/purge/hook.ts';
import type { DirectoryStore } from './store.ts';

/** The faces that a room shows. */
export function directoryPurge(store: DirectoryStore): RoomPurge {
  return {
    room: (tx, { roomId }, limit) => {
      const room = store.findRoom(roomId);
      if (room === undefined) return 0;
      const faces = store.listFaces(room.nid).slice(0, limit);
      for (const face of faces) store.removeMember(tx, room.nid, face);
      if (faces.length < limit) store.removeRoom(tx, room.nid);
      return faces.length;
    },
  };
}
