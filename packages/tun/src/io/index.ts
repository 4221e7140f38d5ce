// What opens real devices and sockets. Everything of this subpath touches the operating system.

export { forgetConnections } from './linux/connection-tracking.ts'
export { DescriptorWait, setPreciseTimers, WakeSignal } from './linux/descriptor-wait.ts'
export {
  type LinkChange,
  LinkSettings,
  type LinkState,
} from './linux/link-settings.ts'
export type { Route, RouteKind, RouteLookup } from './linux/route-message.ts'
export type { TunHandle } from './linux/tun-device.ts'
export { datagramSupport } from './linux/udp-support.ts'
export { type NativeCopy, nativeCopy } from './native-copy.ts'
export { connectFlow } from './netstack/connect-flow.ts'
export { refusalOf } from './netstack/connect-refusal.ts'
export type { DialLimits } from './netstack/dial-gate.ts'
export { FlowDuplex, type FlowDuplexOptions } from './netstack/flow-duplex.ts'
export { type FlowErrorCode, flowError, flowErrorCode } from './netstack/flow-error.ts'
export type { RelayCounters } from './netstack/relay-host.ts'
export { defaultSocketRelayLimits, type SocketRelayLimits } from './netstack/relay-limits.ts'
export {
  type RelayServices,
  SocketRelay,
  type SocketRelayOptions,
  type SocketRelayStats,
} from './netstack/socket-relay.ts'
export { StackDevice, type StackDeviceOptions } from './netstack/stack-device.ts'
export { type FlowListener, type FlowOutput, StackHost, type StackHostOptions } from './netstack/stack-host.ts'
export { UdpSocket, type UdpSocketEvents, type UdpSocketOptions } from './netstack/udp-socket.ts'
export { adoptTun, openTun, openTunQueues, type TunDevice } from './open-tun.ts'
export { adoptDatagramSocket, openDatagramSocket } from './open-udp.ts'
export { sequenceHash } from './sequence-hash.ts'
export { type TunSupport, tunSupport } from './tun-support.ts'
export { wallClockNanoseconds } from './wall-clock.ts'
