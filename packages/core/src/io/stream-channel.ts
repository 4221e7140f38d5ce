import type { TLSSocket } from 'node:tls'
import { type PacketBatch, Verdict } from '../packet/index.ts'
import type { StreamLoss } from '../protocol/events.ts'
import { encodeStreamFrame, FrameType, STREAM_FRAME_HEADER_BYTES } from '../protocol/frame.ts'
import { FrameQueue, type QueueBudget } from './frame-queue.ts'
import { openHand } from './open-hand.ts'
import type { StreamHand } from './stream-hand.ts'

/** What comes out of a stream channel. */
export interface StreamChannelHandlers {
  /** Packets came in: slots of `batch` that are `forward`, with the channel's owner. The batch is reset afterwards. */
  onPackets(batch: PacketBatch): void
  /** A control frame came in, after the packets that came before it. */
  onControl(frameType: FrameType, payload: Uint8Array): void
  /** The connection is gone, once, unless it was ended or destroyed from this side. */
  onClosed(loss: StreamLoss, error?: Error): void
  /** It is decided, once, who makes the records: our own record layer or Node's TLS. */
  onRecords?(kind: 'own' | 'node'): void
}

export interface StreamChannelOptions {
  /** Where packets that come in are put; emptied before it returns to the loop, so all channels of a thread may share one. */
  readonly batch: PacketBatch
  /** The owner that these packets get. @defaultValue -1 */
  readonly owner?: number
  /** Bytes of data frames that wait beyond what the operating system took; then the oldest are dropped. @defaultValue 262_144 */
  readonly maxQueueBytes?: number
  /** Data frames that wait; then the oldest are dropped. @defaultValue 512 */
  readonly maxQueueFrames?: number
  /** Shared with other channels: the data frames of all of them together. @defaultValue there is none */
  readonly budget?: QueueBudget
  /** Control frames that wait; one more closes the channel as `write-timeout`. @defaultValue 1024 */
  readonly maxQueueControlFrames?: number
  /** A peer that takes nothing for so long is given up. @defaultValue 20_000 */
  readonly writeTimeoutMs?: number
  /** How long `end` waits for the peer to take what is queued and to close. @defaultValue 2000 */
  readonly endTimeoutMs?: number
}

/** What a stream channel counted. */
export interface StreamChannelStats {
  readonly bytesReceived: number
  readonly framesSent: number
  readonly bytesSent: number
  /** Data frames dropped because the queue was full. */
  readonly framesDropped: number
  readonly queuedFrames: number
  readonly queuedBytes: number
}

/**
 * A TLS connection after CONNECT, as the stream channel of a session.
 *
 * Each frame leaves as one TLS record, which stock peers insist on. Records are made and opened by our own record layer, where
 * the connection has a tap, or else by Node's TLS. What the operating system does not take waits here, within bounds.
 */
export class StreamChannel {
  /** The owner of packets that come in; may be set later, when the session has its index. */
  owner: number
  /** Until there is a hand: what was taken over needs no TLS of Node's any more. */
  private socket: TLSSocket | undefined
  private readonly handlers: StreamChannelHandlers
  private readonly batch: PacketBatch
  private readonly queue: FrameQueue
  private readonly writeTimeoutMs: number
  private readonly endTimeoutMs: number
  private hand: StreamHand | undefined = undefined
  private head: Uint8Array | undefined = undefined
  private state: 'open' | 'ending' | 'closed' = 'open'
  private blockedSince = 0
  private watch: NodeJS.Timeout | undefined = undefined
  private bytesReceived = 0
  private framesSent = 0
  private bytesSent = 0

  constructor(socket: TLSSocket, handlers: StreamChannelHandlers, options: StreamChannelOptions) {
    this.socket = socket
    this.handlers = handlers
    this.batch = options.batch
    this.owner = options.owner ?? -1
    this.queue = new FrameQueue(
      {
        maxBytes: options.maxQueueBytes ?? 262_144,
        maxFrames: options.maxQueueFrames ?? 512,
        maxControlFrames: options.maxQueueControlFrames ?? 1024,
      },
      options.budget,
    )
    this.writeTimeoutMs = options.writeTimeoutMs ?? 20_000
    this.endTimeoutMs = options.endTimeoutMs ?? 2000
    const events = {
      onChunk: (chunk: Uint8Array) => this.receive(chunk),
      onBlocked: () => {
        this.blockedSince = performance.now()
        this.watchBlocked(this.writeTimeoutMs)
      },
      onReady: () => this.pump(),
      onEnd: () => this.lose('ended'),
      onError: (error: Error) => this.lose('error', error),
    }
    openHand(socket, events, hand => {
      this.hand = hand
      this.socket = undefined
      handlers.onRecords?.(hand.kind)
      if (this.state === 'closed') hand.destroy()
      else if (this.head !== undefined) this.begin(hand, this.head)
    })
  }

  get closed(): boolean {
    return this.state !== 'open'
  }

  /** Who makes the records: our own layer or Node's TLS; `undefined` while that is not decided. */
  get records(): StreamHand['kind'] | undefined {
    return this.hand?.kind
  }

  /** Begins to read. `head`: bytes that came in together with the CONNECT exchange. */
  start(head: Uint8Array = nothing): void {
    if (this.state !== 'open') return
    this.head = head
    if (this.hand) this.begin(this.hand, head)
  }

  /**
   * Sends the `forward` slots, which are framed (`wrapStreamFrames`); their bytes are copied. When the queue is full, the
   * oldest waiting packets are dropped and counted in `stats`.
   */
  sendBatch(batch: PacketBatch): void {
    if (this.state !== 'open') return
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      this.queue.pushData(batch.packet(slot).slice())
    }
    this.pump()
  }

  /** Sends one packet as a data frame; the bytes are copied. As `sendBatch` when the queue is full. */
  sendPacket(bytes: Uint8Array, offset: number, length: number): void {
    if (this.state !== 'open') return
    const { hand } = this
    if (hand?.ready === true && this.queue.empty) {
      this.countSent(STREAM_FRAME_HEADER_BYTES + length)
      hand.sendPacket(bytes, offset, length)
    } else {
      this.queue.pushData(encodeStreamFrame(FrameType.data, bytes.subarray(offset, offset + length)))
      this.pump()
    }
  }

  /** Sends a control frame, before any data that waits. Never dropped. */
  sendFrame(frameType: FrameType, payload: Uint8Array): void {
    if (this.state !== 'open') return
    if (this.queue.pushControl(encodeStreamFrame(frameType, payload))) this.pump()
    else this.lose('write-timeout')
  }

  /** Sends what is queued, then closes the connection. `onClosed` is not called. */
  end(): void {
    if (this.state !== 'open') return
    this.state = 'ending'
    clearTimeout(this.watch)
    this.watch = setTimeout(() => this.destroy(), this.endTimeoutMs)
    this.pump()
  }

  /** Closes the connection at once. `onClosed` is not called. */
  destroy(): void {
    this.state = 'closed'
    clearTimeout(this.watch)
    this.queue.clear()
    if (this.hand) this.hand.destroy()
    else this.socket?.destroy()
  }

  stats(): StreamChannelStats {
    return {
      bytesReceived: this.bytesReceived,
      framesSent: this.framesSent,
      bytesSent: this.bytesSent,
      framesDropped: this.queue.dropped,
      queuedFrames: this.queue.frames,
      queuedBytes: this.queue.bytes,
    }
  }

  private begin(hand: StreamHand, head: Uint8Array): void {
    this.head = undefined
    this.pump()
    if (this.state === 'open') hand.start(head)
  }

  private receive(chunk: Uint8Array): void {
    // While ending nothing of the peer counts any more.
    if (this.state !== 'open') return
    const { source } = this.hand!
    this.bytesReceived += chunk.length
    source.feed(chunk)
    for (;;) {
      const step = source.next(this.batch, this.owner)
      this.flush()
      if (this.state !== 'open' || step.type === 'starved') return
      if (step.type === 'control') this.handlers.onControl(step.frameType, step.payload)
      else if (step.type === 'violation') this.lose('protocol-violation', new Error(`stream: ${step.violation}`))
      else if (step.type === 'failed') this.lose('protocol-violation', new Error(`stream: ${step.text}`))
      else if (step.type === 'ended') this.lose('ended')
      if (this.state !== 'open') return
    }
  }

  private flush(): void {
    if (this.batch.count === 0) return
    this.handlers.onPackets(this.batch)
    this.batch.reset()
  }

  private pump(): void {
    const { hand } = this
    // A write usually completes within the call; the loop, not recursion, then takes the next frame.
    while (hand?.ready === true && this.state !== 'closed') {
      const frame = this.queue.shift()
      if (frame === undefined) {
        if (this.state === 'ending') hand.end()
        return
      }
      this.countSent(frame.length)
      hand.sendFrame(frame)
    }
  }

  private countSent(frameBytes: number): void {
    this.framesSent++
    this.bytesSent += frameBytes
  }

  private watchBlocked(afterMs: number): void {
    if (this.watch !== undefined || this.state !== 'open') return
    this.watch = setTimeout(() => {
      this.watch = undefined
      if (this.hand?.ready !== false || this.state !== 'open') return
      const left = this.blockedSince + this.writeTimeoutMs - performance.now()
      if (left <= 0) this.lose('write-timeout')
      else this.watchBlocked(Math.ceil(left))
    }, afterMs)
    this.watch.unref()
  }

  /** The connection is of no use any more; tells so unless this side wanted it. */
  private lose(loss: StreamLoss, error?: Error): void {
    const unexpected = this.state === 'open'
    // While ending, the peer's own end changes nothing: what is queued still goes out.
    if (this.state === 'ending' && loss === 'ended' && this.hand?.closed === false) return
    this.destroy()
    if (unexpected) this.handlers.onClosed(loss, error)
  }
}

const nothing = new Uint8Array(0)
