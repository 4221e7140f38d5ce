// The userspace stack: TCP, UDP and ICMP endpoints as one machine, in reading order.

export type { NetStackCounters, NetStackStats } from './counters.ts'
export { defaultNetStackLimits, type NetStackLimits } from './limits.ts'
export { type BindUdpOptions, NetStack, type OpenTcpOptions } from './net-stack.ts'
export { defaultNetStackMtu, defaultUdpIdleTimeoutMs, type NetStackOptions, type NetStackRandom } from './options.ts'
export type {
  EchoMessage,
  FlowResetReason,
  IcmpErrorKind,
  NetStackEndpoint,
  NetStackOutput,
  RefuseReason,
} from './outputs.ts'
export type { InitialSequenceSource, TcpOptions } from './tcp/tcp-config.ts'
export type { FlowEnd } from './tcp/tcp-events.ts'
