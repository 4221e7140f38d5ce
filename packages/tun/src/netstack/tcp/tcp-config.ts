import type { MemoryBudget } from './memory-budget.ts'
import type { FlowEnd } from './tcp-events.ts'
import { MAX_WINDOW_SCALE } from './tcp-options.ts'

/** Where initial sequence numbers come from: `InitialSequences` of `initial-sequence.ts`, or numbers chosen by a test. */
export interface InitialSequenceSource {
  /** The initial sequence number of a connection that begins now (RFC 6528). */
  sequenceNumber(local: FlowEnd, remote: FlowEnd, now: number): number
  /** What is added to the clock for the timestamps of a connection (RFC 7323 §5.4): equal for equal ends. */
  timestampOffset(local: FlowEnd, remote: FlowEnd): number
}

/** How connections behave. Only `initialSequences` has no default. */
export interface TcpOptions {
  readonly initialSequences: InitialSequenceSource
  /** Bytes that a connection's receive window begins with, and may grow to. @defaultValue 65_536, 4_194_304 */
  readonly initialReceiveWindow?: number
  readonly maxReceiveWindow?: number
  /** Bytes that may be written and not yet acknowledged, at first and at most. @defaultValue 65_536, 4_194_304 */
  readonly initialSendBuffer?: number
  readonly maxSendBuffer?: number
  /** The shift that is announced, 0 to 14. @defaultValue the smallest that can express `maxReceiveWindow` */
  readonly windowScale?: number
  /** Whether each is offered and accepted. @defaultValue true */
  readonly timestamps?: boolean
  readonly selectiveAcknowledgments?: boolean
  readonly windowScaling?: boolean
  /** First timeout before a round trip was measured (RFC 6298 §2.1). @defaultValue 1000 */
  readonly initialRtoMs?: number
  /**
   * How much longer than a round trip the retransmission timeout is at least: peers may sit on an acknowledgement for
   * 200. RFC 6298 §2.4 asks for a second in all, which recovers slowly from losses on a tunnel of datagrams.
   * @defaultValue 200
   */
  readonly minRtoMs?: number
  /** The longest one, at least 60 000 (RFC 6298 §2.5). @defaultValue 60_000 */
  readonly maxRtoMs?: number
  /** Gives up after so long without an answer (R2 of RFC 9293 §3.8.3, at least 180 000 for a SYN). @defaultValue 180_000 */
  readonly giveUpMs?: number
  /** Probes a connection that was idle for so long (RFC 5382 REQ-5: 2 h 4 min). @defaultValue 7_440_000 */
  readonly idleMs?: number
  /** Time between unanswered idle probes, and how many are sent. @defaultValue 75_000, 9 */
  readonly idleProbeMs?: number
  readonly idleProbes?: number
  /** How long the side that closed first remembers the connection. @defaultValue 60_000 */
  readonly timeWaitMs?: number
  /** How many times a SYN-ACK or SYN is repeated before giving up, if `giveUpMs` did not come first. @defaultValue 8 */
  readonly synRetries?: number
}

/** `TcpOptions` with every default filled in; one object for all connections of a stack. */
export interface TcpConfig extends Required<TcpOptions> {
  /** Whether segments that leave together may leave as a super-packet. */
  readonly superPackets: boolean
}

/** What connections of one client have in common, given with each. */
export interface TcpPath {
  /** The longest IP packet that the tunnel carries. */
  readonly mtu: number
  /** Where buffers take their memory. */
  readonly memory: MemoryBudget
}

/** Fills in defaults. Throws `RangeError` for values that can't work. */
export function tcpConfig(options: TcpOptions, superPackets = false): TcpConfig {
  const maxReceiveWindow = options.maxReceiveWindow ?? 4_194_304
  const maxSendBuffer = options.maxSendBuffer ?? 4_194_304
  const config: TcpConfig = {
    initialSequences: options.initialSequences,
    initialReceiveWindow: options.initialReceiveWindow ?? Math.min(65_536, maxReceiveWindow),
    maxReceiveWindow,
    initialSendBuffer: options.initialSendBuffer ?? Math.min(65_536, maxSendBuffer),
    maxSendBuffer,
    windowScale: options.windowScale ?? scaleFor(maxReceiveWindow),
    timestamps: options.timestamps ?? true,
    selectiveAcknowledgments: options.selectiveAcknowledgments ?? true,
    windowScaling: options.windowScaling ?? true,
    initialRtoMs: options.initialRtoMs ?? 1000,
    minRtoMs: options.minRtoMs ?? 200,
    maxRtoMs: options.maxRtoMs ?? 60_000,
    giveUpMs: options.giveUpMs ?? 180_000,
    idleMs: options.idleMs ?? 7_440_000,
    idleProbeMs: options.idleProbeMs ?? 75_000,
    idleProbes: options.idleProbes ?? 9,
    timeWaitMs: options.timeWaitMs ?? 60_000,
    synRetries: options.synRetries ?? 8,
    superPackets,
  }
  for (const [name, value] of Object.entries(config)) {
    if (typeof value === 'number' && !(Number.isFinite(value) && value >= 0))
      throw new RangeError(`${name} must be a finite number that is not negative`)
  }
  for (const name of ['initialReceiveWindow', 'maxReceiveWindow', 'initialSendBuffer', 'maxSendBuffer'] as const) {
    if (!Number.isInteger(config[name])) throw new RangeError(`${name} must be a whole number of bytes`)
  }
  if (config.windowScale > MAX_WINDOW_SCALE || !Number.isInteger(config.windowScale))
    throw new RangeError(`windowScale must be from 0 to ${MAX_WINDOW_SCALE}`)
  if (config.maxReceiveWindow > maxWindow || config.maxSendBuffer > maxWindow)
    throw new RangeError('buffers must be smaller than 1 GiB')
  if (config.initialReceiveWindow > config.maxReceiveWindow || config.initialSendBuffer > config.maxSendBuffer)
    throw new RangeError('a buffer must not begin larger than its maximum')
  if (config.initialReceiveWindow < 2048 || config.initialSendBuffer < 2048)
    throw new RangeError('buffers must have at least 2048 bytes')
  if (config.windowScaling && config.initialReceiveWindow < 2 * 2 ** config.windowScale)
    throw new RangeError('initialReceiveWindow must be at least two units of windowScale')
  if (config.minRtoMs < 1 || config.minRtoMs > config.maxRtoMs)
    throw new RangeError('minRtoMs must be from 1 to maxRtoMs')
  return config
}

/** RFC 7323 §2.3: 65535 << 14. */
const maxWindow = 2 ** 30

function scaleFor(window: number): number {
  let shift = 0
  while (65_535 * 2 ** shift < window) shift++
  return Math.min(shift, MAX_WINDOW_SCALE)
}
