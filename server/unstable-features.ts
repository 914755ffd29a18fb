import type { Config } from './config/types.ts';
import { delayLimits } from './settings.ts';

/** What `/versions` says of features beyond the released spec: each here only because it works. */
export const unstableFeatures: Readonly<Record<string, boolean>> = {
  // What clients look for by the old names, though it has long been in the spec.
  'fi.mau.msc2659.stable': true,
  'org.matrix.e2e_cross_signing': true,
  'org.matrix.msc2285.stable': true,
  'org.matrix.msc2432': true,
  'org.matrix.msc3030': true,
  'org.matrix.msc3440.stable': true,
  'org.matrix.msc3715.stable': true,
  'org.matrix.msc3771': true,
  'org.matrix.msc3827.stable': true,
  'org.matrix.msc3856.stable': true,
  'org.matrix.msc3981': true,
  'org.matrix.msc4151': true,
  'uk.half-shot.msc2666.query_mutual_rooms': true,
  'uk.half-shot.msc2666.query_mutual_rooms.stable': true,
  'uk.tcpip.msc4133': true,
  'uk.tcpip.msc4133.stable': true,
  // What is in no release of it.
  'org.matrix.label_based_filtering': true,
  'org.matrix.msc3391': true,
  'org.matrix.msc3757': true,
  'org.matrix.msc3874': true,
  'org.matrix.msc3881': true,
  'org.matrix.msc3890': true,
  'org.matrix.msc4076': true,
  'org.matrix.msc4108': true,
  'org.matrix.msc4143': true,
  'org.matrix.msc4155': true,
  'org.matrix.msc4380': true,

  'org.matrix.msc3814': true,
  'org.matrix.msc4222': true,
  'org.matrix.simplified_msc3575': true,
  'uk.timedout.msc4323': true,
};

/** What of that depends on how this server was set up. */
export function configuredFeatures(config: Config): Readonly<Record<string, boolean>> {
  const { encryptionByDefault } = config.rooms;
  return {
    'io.element.e2ee_forced.private': encryptionByDefault !== 'off',
    'io.element.e2ee_forced.public': encryptionByDefault === 'all',
    'io.element.e2ee_forced.trusted_private': encryptionByDefault !== 'off',
    'org.matrix.msc3916.stable': config.media.enabled,
    'org.matrix.msc4306': config.push.threadsAreFollowed,
    'org.matrix.msc4140': delayLimits(config) !== undefined,
  };
}
