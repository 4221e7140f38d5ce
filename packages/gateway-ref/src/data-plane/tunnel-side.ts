import {
  datagramFramePayload,
  encodeDatagramFrame,
  type FrameType,
  unwrapDatagramFrames,
  wrapDatagramFrames,
} from '@twinbore/core'
import { DropReason, PacketBatch, type PacketBatchOptions, Verdict, wholePacketBytes } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import { type DatagramSocket, Segmenter } from '@twinbore/tun'
import { FairShares } from './fair-shares.ts'
import type { RateLimits } from './rate-limits.ts'
import type { SendQueues } from './send-queues.ts'
import { Carrier, type SessionTable } from './session-table.ts'

/** Opens and seals the records of datagram channels in place; `DtlsServer` and `DtlsAssociation` of `@twinbore/dtls` fit. */
export interface DatagramRecords {
  /** Owners in: endpoint indices. Slots with application data stay `forward`; their owners become associations. */
  openDatagrams(batch: PacketBatch, now: Milliseconds): void
  /** Owners in: associations; out: endpoint indices. */
  sealDatagrams(batch: PacketBatch, now: Milliseconds): void
}

/** Takes datagrams away before they are opened; `RoamingClients` fits. */
export interface DatagramRelay {
  passOn(batch: PacketBatch, now: Milliseconds): void
}

/** A UDP socket and the keys of what comes through it. */
export interface DatagramPath {
  readonly socket: DatagramSocket
  readonly records: DatagramRecords
  /** What another worker of the same port has to do with. @defaultValue nothing */
  readonly relay?: DatagramRelay | undefined
}

/** Where packets of stream channels and control frames of datagram channels go. */
export interface TunnelOutlets {
  /** Sends a packet on a session's stream channel. The bytes are the batch's and must be copied. */
  sendOnStream(session: number, bytes: Uint8Array, offset: number, length: number): void
  /** A control frame came through a datagram channel; `payload` is the callee's. */
  handleControlFrame(session: number, type: FrameType, payload: Uint8Array, now: Milliseconds): void
}

export interface TunnelSideLimits {
  /** Where records wait for a socket that has no room. @defaultValue they are dropped */
  readonly queues?: SendQueues | undefined
  /** What sessions may get. @defaultValue everything */
  readonly rates?: RateLimits | undefined
}

/** How many packets are sealed at once: more than the records of two full trains, few enough for the processor's cache. */
const OUTGOING_SLOTS = 128

const layoutFields = ['capacity', 'slotBytes', 'headroom', 'tailroom', 'sharedBytes'] as const

/** A socket without room is tried again after this; what it holds then lasts for longer, also at 1 Gbit/s. */
const RETRY_MS = 1

/**
 * The half of a data plane that faces the tunnels, the same for a gateway and for a client:
 *
 *     receive: datagrams -> fair shares -> relay -> open records -> session -> frame type off   (control frames leave to the session machines)
 *     send:    super-packets cut -> rate -> frame type on -> seal records -> datagrams   (stream packets leave to their channel)
 *
 * What is received lies where the socket put it. What is sent is copied into a batch of its own, packet by packet, with
 * room for the headers around it, so that consecutive records of a session leave as one train.
 *
 * Memory: the socket's layout, and 128 * (slotBytes + 162) bytes, with the `slotBytes` of `batch`.
 */
export class TunnelSide {
  /** Packets that left on datagram channels so far, for drivers that pace themselves. */
  packetsSent = 0
  readonly sessions: SessionTable
  /** One control frame at a time. */
  readonly control: PacketBatch
  private readonly outlets: TunnelOutlets
  private readonly options: PacketBatchOptions
  private readonly outgoing: PacketBatch
  /** Packets of a super-packet for a stream channel. */
  private readonly toStream: PacketBatch
  private readonly segmenter = new Segmenter()
  /** Of those whose datagrams wait in the socket. */
  private readonly shares = new FairShares()
  private readonly queues: SendQueues | undefined
  private readonly rates: RateLimits | undefined
  /** When the socket may have room again. */
  private retryAt: Milliseconds = 0
  private incoming: PacketBatch
  private layout: PacketBatchOptions
  private layoutOf: DatagramSocket | undefined

  /**
   * @param batch - `slotBytes`: the longest packet of a tunnel.
   */
  constructor(
    sessions: SessionTable,
    outlets: TunnelOutlets,
    batch: PacketBatchOptions,
    limits: TunnelSideLimits = {},
  ) {
    this.queues = limits.queues
    this.rates = limits.rates
    this.sessions = sessions
    this.outlets = outlets
    this.options = batch
    this.layout = { ...batch, capacity: 1 }
    this.incoming = new PacketBatch(this.layout)
    this.outgoing = new PacketBatch({ ...batch, capacity: OUTGOING_SLOTS })
    this.toStream = new PacketBatch({ ...batch, capacity: OUTGOING_SLOTS / 8 })
    this.control = new PacketBatch({ ...batch, capacity: 1 })
  }

  /** What `receive` filled; good until the next call. */
  get received(): PacketBatch {
    return this.incoming
  }

  /** Every batch that counts drops. */
  get batches(): readonly PacketBatch[] {
    return [this.incoming, this.outgoing, this.toStream, this.control]
  }

  /**
   * Takes one batch of datagrams and leaves packets with their sessions as owners in `received`. Returns whether the
   * socket was drained.
   */
  receive(path: DatagramPath, now: Milliseconds): boolean {
    if (this.layoutOf !== path.socket) this.layOut(path.socket)
    const batch = this.incoming
    batch.reset()
    path.socket.receive(batch)
    this.shares.police(batch, now)
    this.shares.settle(path.socket.drained, now)
    path.relay?.passOn(batch, now)
    this.open(batch, path.records, now)
    return path.socket.drained
  }

  /** Leaves packets with their sessions as owners where datagrams were, which `receive` has not got from its own socket. */
  open(batch: PacketBatch, records: Pick<DatagramRecords, 'openDatagrams'>, now: Milliseconds): void {
    records.openDatagrams(batch, now)
    this.sessions.resolveAssociations(batch)
    unwrapDatagramFrames(batch, (slot, type) => {
      this.outlets.handleControlFrame(batch.owners[slot]!, type, datagramFramePayload(batch, slot), now)
    })
    this.sessions.countReceived(batch, Carrier.datagram)
  }

  /**
   * Sends the packets of a batch, whose owners are sessions, each on its session's channel; super-packets as the packets
   * that they are. The batch is used up.
   */
  send(batch: PacketBatch, path: DatagramPath | undefined, now: Milliseconds): void {
    const { sessions, outgoing } = this
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = batch.owners[slot]!
      const carrier = sessions.carriers[session]!
      if (carrier === Carrier.none || (carrier === Carrier.datagram && !path)) {
        batch.drop(slot, DropReason.noSession)
        continue
      }
      // What is limited is counted when it has passed.
      if (this.rates?.limitsSent(session) !== true) {
        sessions.countSent(session, carrier as Carrier, wholePacketBytes(batch, slot), batch.segments[slot]!)
      }
      if (carrier === Carrier.datagram) {
        if (!this.segmenter.start(batch, slot)) batch.drop(slot, DropReason.malformed)
        else while (!this.segmenter.fill(outgoing)) this.flush(path!, now)
      } else {
        this.sendOnStream(batch, slot, session, now)
        batch.divert(slot)
      }
    }
    if (outgoing.count > 0) this.flush(path!, now)
  }

  private flush(path: DatagramPath, now: Milliseconds): void {
    const { outgoing } = this
    this.packetsSent += outgoing.count
    this.limit(outgoing, Carrier.datagram, now)
    const { associations } = this.sessions
    for (let slot = 0; slot < outgoing.count; slot++) outgoing.owners[slot] = associations[outgoing.owners[slot]!]!
    wrapDatagramFrames(outgoing)
    path.records.sealDatagrams(outgoing, now)
    this.handOver(outgoing, path, now)
    outgoing.reset()
  }

  /** Sends sealed records, or lets them wait: never past those that wait already, as receivers refuse what comes too late. */
  private handOver(batch: PacketBatch, { socket }: DatagramPath, now: Milliseconds): void {
    const { queues } = this
    if (!queues) {
      socket.send(batch)
      return
    }
    let from = 0
    if (queues.isEmpty) {
      socket.send(batch, true)
      from = socket.blockedAt
      if (from === -1) return
      this.retryAt = now + RETRY_MS
    }
    queues.push(batch, from, now)
    batch.drops[DropReason.queueFull]! += queues.takeDropped()
  }

  /** When `sendWaiting` is due; `undefined` when nothing waits. */
  get deadline(): Milliseconds | undefined {
    return this.queues === undefined || this.queues.isEmpty ? undefined : this.retryAt
  }

  /** Sends records that wait for the socket, as far as it has room. */
  sendWaiting({ socket }: DatagramPath, now: Milliseconds): void {
    const { queues, outgoing } = this
    if (!queues || now < this.retryAt) return
    while (!queues.isEmpty) {
      outgoing.reset()
      queues.pull(outgoing, now)
      socket.send(outgoing, true)
      const { blockedAt } = socket
      queues.giveBack(blockedAt === -1 ? outgoing.count : blockedAt)
      if (blockedAt === -1) continue
      this.retryAt = now + RETRY_MS
      break
    }
    outgoing.drops[DropReason.queueFull]! += queues.takeDropped()
    outgoing.reset()
  }

  /** Drops of single packets what is beyond the limits of their sessions, and counts the rest. */
  private limit(batch: PacketBatch, carrier: Carrier, now: Milliseconds): void {
    const { rates, sessions } = this
    if (!rates?.limitsAnySent) return
    rates.limitSent(batch, now)
    for (let slot = 0; slot < batch.count; slot++) {
      const session = batch.owners[slot]!
      if (batch.verdicts[slot] !== Verdict.forward || !rates.limitsSent(session)) continue
      sessions.countSent(session, carrier, batch.lengths[slot]!)
    }
  }

  private sendOnStream(batch: PacketBatch, slot: number, session: number, now: Milliseconds): void {
    const isWhole = batch.segments[slot] === 1 && batch.partialChecksums[slot] === 0
    if (isWhole && this.rates?.limitsSent(session) !== true) {
      this.outlets.sendOnStream(session, batch.bytes, batch.offsets[slot]!, batch.lengths[slot]!)
      return
    }
    if (!this.segmenter.start(batch, slot)) return
    const { toStream } = this
    for (let done = false; !done; toStream.reset()) {
      done = this.segmenter.fill(toStream)
      this.limit(toStream, Carrier.stream, now)
      for (let packet = 0; packet < toStream.count; packet++)
        if (toStream.verdicts[packet] === Verdict.forward)
          this.outlets.sendOnStream(session, toStream.bytes, toStream.offsets[packet]!, toStream.lengths[packet]!)
    }
  }

  /** Makes the batch that the socket fills best, unless that of the socket before is the same. */
  private layOut(socket: DatagramSocket): void {
    const slotBytes = Math.max(this.outgoing.slotBytes, socket.batch.slotBytes ?? 0)
    const layout = { ...this.options, ...socket.batch, slotBytes }
    this.layoutOf = socket
    if (layoutFields.every(field => layout[field] === this.layout[field])) return
    const { drops } = this.incoming
    this.layout = layout
    this.incoming = new PacketBatch(layout)
    this.incoming.drops.set(drops)
  }

  /** Sends a control frame through a datagram channel. */
  sendControlFrame(
    association: number,
    type: FrameType,
    payload: Uint8Array,
    path: DatagramPath,
    now: Milliseconds,
  ): void {
    const batch = this.control
    batch.reset()
    if (batch.push(encodeDatagramFrame(type, payload), association) === -1) return
    path.records.sealDatagrams(batch, now)
    this.handOver(batch, path, now)
  }
}
