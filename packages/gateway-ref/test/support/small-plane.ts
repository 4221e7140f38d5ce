import type { PlaneSettings } from '../../src/data-plane/engine.ts'

/** A data plane for four sessions, that translates nothing and lets them go everywhere. */
export const smallPlane: PlaneSettings = {
  capacity: 4,
  maxAssociations: 4,
  translation: undefined,
  destinations: { pools: [], ownAddresses: [], allowed: [] },
  gatewayAddresses: {},
  mtu: 1400,
  activityIntervalMs: 50,
}
