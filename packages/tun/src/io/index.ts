// What opens real devices and sockets. Everything of this subpath touches the operating system.

export { forgetConnections } from './linux/connection-tracking.ts'
export {
  type LinkChange,
  LinkSettings,
  type LinkState,
} from './linux/link-settings.ts'
export type { Route, RouteKind, RouteLookup } from './linux/route-message.ts'
export { openTun } from './open-tun.ts'
export { openDatagramSocket } from './open-udp.ts'
export { sequenceHash } from './sequence-hash.ts'
export { wallClockNanoseconds } from './wall-clock.ts'
