import {
  datagramFramePayload,
  encodeDatagramFrame,
  type FrameType,
  unwrapDatagramFrames,
  wrapDatagramFrames,
} from '@twinbore/core'
import { DropReason, PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { DatagramSocket } from '@twinbore/tun'
import { Carrier, type SessionTable } from './session-table.ts'

/** Opens and seals the records of datagram channels in place; `DtlsServer` and `DtlsAssociation` of `@twinbore/dtls` fit. */
export interface DatagramRecords {
  /** Owners in: endpoint indices. Slots with application data stay `forward`; their owners become associations. */
  openDatagrams(batch: PacketBatch, now: Milliseconds): void
  /** Owners in: associations; out: endpoint indices. */
  sealDatagrams(batch: PacketBatch, now: Milliseconds): void
}

/** A UDP socket and the keys of what comes through it. */
export interface DatagramPath {
  readonly socket: DatagramSocket
  readonly records: DatagramRecords
}

/** Where packets of stream channels and control frames of datagram channels go. */
export interface TunnelOutlets {
  /** Sends a packet on a session's stream channel. The bytes are the batch's and must be copied. */
  sendOnStream(session: number, bytes: Uint8Array, offset: number, length: number): void
  /** A control frame came through a datagram channel; `payload` is the callee's. */
  handleControlFrame(session: number, type: FrameType, payload: Uint8Array, now: Milliseconds): void
}

/**
 * The half of a data plane that faces the tunnels, the same for a gateway and for a client:
 *
 *     receive: datagrams -> open records -> session -> frame type off   (control frames leave to the session machines)
 *     send:    carrier of each session -> frame type on -> seal records -> datagrams   (stream packets leave to their channel)
 */
export class TunnelSide {
  readonly sessions: SessionTable
  /** What `receive` fills; good until the next call. */
  readonly received: PacketBatch
  /** One control frame at a time. */
  readonly control: PacketBatch
  private readonly outlets: TunnelOutlets

  constructor(sessions: SessionTable, outlets: TunnelOutlets, batch: PacketBatchOptions) {
    this.sessions = sessions
    this.outlets = outlets
    this.received = new PacketBatch(batch)
    this.control = new PacketBatch({ ...batch, capacity: 1 })
  }

  /**
   * Takes one batch of datagrams and leaves packets with their sessions as owners in `received`. Returns whether the
   * socket was drained.
   */
  receive(path: DatagramPath, now: Milliseconds): boolean {
    const batch = this.received
    batch.reset()
    path.socket.receive(batch)
    const { drained } = path.socket
    path.records.openDatagrams(batch, now)
    this.sessions.resolveAssociations(batch)
    unwrapDatagramFrames(batch, (slot, type) => {
      this.outlets.handleControlFrame(batch.owners[slot]!, type, datagramFramePayload(batch, slot), now)
    })
    this.sessions.countReceived(batch, Carrier.datagram)
    return drained
  }

  /** Sends the packets of a batch, whose owners are sessions, each on its session's channel. The batch is used up. */
  send(batch: PacketBatch, path: DatagramPath | undefined, now: Milliseconds): void {
    const { sessions } = this
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = batch.owners[slot]!
      const carrier = sessions.carriers[session]
      if (carrier === Carrier.datagram && path) {
        sessions.countSent(session, Carrier.datagram, batch.lengths[slot]!)
        batch.owners[slot] = sessions.associations[session]!
      } else if (carrier === Carrier.stream) {
        sessions.countSent(session, Carrier.stream, batch.lengths[slot]!)
        this.outlets.sendOnStream(session, batch.bytes, batch.offsets[slot]!, batch.lengths[slot]!)
        batch.divert(slot)
      } else {
        batch.drop(slot, DropReason.noSession)
      }
    }
    if (!path) return
    wrapDatagramFrames(batch)
    path.records.sealDatagrams(batch, now)
    path.socket.send(batch)
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
    path.socket.send(batch)
  }
}
