import type { DialLimits } from './dial-gate.ts'

/** Caps and times of a `SocketRelay`, beside those of its stack. */
export interface SocketRelayLimits extends DialLimits {
  /**
   * Connects under way from one inside address to one destination address. A SYN beyond is dropped silently; its sender
   * tries again. @defaultValue 32
   */
  readonly maxDialsPerSourceAndDestination: number
  /** The same from all inside addresses. @defaultValue 256 */
  readonly maxDialsPerDestination: number
  /** How long a connect may take before the client is told "host unreachable". @defaultValue 30_000 */
  readonly dialTimeoutMs: number
  /** Silence after which the other end of a connection is probed (RFC 5382 REQ-5: 2 h 4 min); the client's end is the stack's. @defaultValue 7_440_000 */
  readonly idleMs: number
  /** How long a connection whose client is done may go without progress while it delivers what the client sent. @defaultValue 240_000 */
  readonly lingerMs: number
  /** Bytes of datagrams that one socket may have waiting in the process; the next one is dropped. @defaultValue 256 KiB */
  readonly maxQueuedBytesPerUdpSocket: number
  /** Hosts that one inside endpoint may get answers from; the one that it sent to longest ago makes room. @defaultValue 1024 */
  readonly maxPeersPerUdpSocket: number
  /** Ping sockets of one inside address; one serves one identifier. An echo request beyond is refused. @defaultValue 16 */
  readonly maxPingSocketsPerSource: number
  /** The same for all inside addresses. @defaultValue 1024 */
  readonly maxPingSockets: number
  /** How long a ping socket lives that sends nothing (RFC 5508 REQ-2: at least 60 s). @defaultValue 60_000 */
  readonly pingIdleMs: number
  /** How often is looked for what no event tells: a reset of a socket that is paused or has ended, idle ping sockets. @defaultValue 10_000 */
  readonly sweepMs: number
  /** Open files of the process; flows are admitted up to 80 % of it. @defaultValue what the system says, or 1024 */
  readonly maxDescriptors: number | undefined
}

export const defaultSocketRelayLimits: SocketRelayLimits = {
  maxDialsPerSourceAndDestination: 32,
  maxDialsPerDestination: 256,
  dialTimeoutMs: 30_000,
  idleMs: 7_440_000,
  lingerMs: 240_000,
  maxQueuedBytesPerUdpSocket: 256 * 1024,
  maxPeersPerUdpSocket: 1024,
  maxPingSocketsPerSource: 16,
  maxPingSockets: 1024,
  pingIdleMs: 60_000,
  sweepMs: 10_000,
  maxDescriptors: undefined,
}
