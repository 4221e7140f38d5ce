import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { AddressIndex } from './address-index.ts'
import type { PlanePermission } from './permitted-destinations.ts'

/** The channel that carries a session's packets, as a column value. */
export const Carrier = { none: 0, stream: 1, datagram: 2 } as const
export type Carrier = (typeof Carrier)[keyof typeof Carrier]

/** What the control plane installs for a session. Addresses are 4 or 16 bytes. */
export interface SessionEntry {
  readonly ipv4?: Uint8Array | undefined
  readonly ipv6?: Uint8Array | undefined
  /** The longest IP packet towards the client. */
  readonly mtu: number
  /** All that it may reach; absent: whatever any session may. */
  readonly permissions?: readonly PlanePermission[] | undefined
  /** Whether its traffic goes on counting from where the counters are. @defaultValue false */
  readonly keepsTraffic?: boolean
}

/** What passed for one session over one channel. */
export interface Traffic {
  packetsReceived: number
  bytesReceived: number
  packetsSent: number
  bytesSent: number
}

/**
 * Session <-> lease <-> DTLS association, in typed arrays: everything the data path must know of a session. The control
 * plane installs, moves and removes; the stages below look up. "Received" is what came from the client, "sent" what went
 * to it. A session is a small integer, of the caller's choice or the first free one.
 *
 * Memory: about 120 bytes a session, plus 40 bytes an address.
 */
export class SessionTable {
  readonly capacity: number
  /** The association of each session's datagram channel, or -1. */
  readonly associations: Int32Array
  readonly carriers: Uint8Array
  readonly mtus: Uint16Array
  private readonly leases: (SessionEntry | undefined)[] = []
  /** Lease words: IPv4 at 0, IPv6 at 1 to 4; `families` says which are set (bit 0: IPv4, bit 1: IPv6). */
  private readonly words: Uint32Array
  private readonly families: Uint8Array
  /** Per session and channel: packets and bytes received, packets and bytes sent. */
  private readonly totals: Float64Array
  private readonly pending: Float64Array
  private readonly touched: Int32Array
  private readonly isTouched: Uint8Array
  private touchedCount = 0
  private readonly addresses = new AddressIndex()
  private sessionOfAssociation = new Int32Array(64).fill(-1)
  private used = 0

  /**
   * @param capacity - how many sessions at once
   * @param totals - where traffic is counted, `trafficCells` numbers. Others may read it meanwhile, with `trafficOf`
   */
  constructor(capacity: number, totals: Float64Array = new Float64Array(trafficCells(capacity))) {
    this.capacity = capacity
    this.associations = new Int32Array(capacity).fill(-1)
    this.carriers = new Uint8Array(capacity)
    this.mtus = new Uint16Array(capacity)
    this.words = new Uint32Array(capacity * 5)
    this.families = new Uint8Array(capacity)
    this.totals = totals
    this.pending = new Float64Array(capacity * CELLS)
    this.touched = new Int32Array(capacity)
    this.isTouched = new Uint8Array(capacity)
  }

  get size(): number {
    return this.used
  }

  /** Whether the number is a session's. */
  has(session: number): boolean {
    return this.leases[session] !== undefined
  }

  /**
   * Adds a session, or replaces the one of that number. Returns its number, or -1 when the table is full.
   *
   * @param session - its number. @defaultValue the first free one
   */
  install(entry: SessionEntry, session: number = this.firstFree()): number {
    if (session < 0 || session >= this.capacity) return -1
    this.remove(session)
    this.used++
    this.leases[session] = entry
    this.associations[session] = -1
    this.carriers[session] = Carrier.none
    this.mtus[session] = entry.mtu
    this.families[session] = (entry.ipv4 ? 1 : 0) | (entry.ipv6 ? 2 : 0)
    if (entry.ipv4) this.words[session * 5] = wordAt(entry.ipv4, 0)
    if (entry.ipv6) for (let i = 0; i < 4; i++) this.words[session * 5 + 1 + i] = wordAt(entry.ipv6, i * 4)
    if (entry.keepsTraffic !== true) this.totals.fill(0, session * CELLS, (session + 1) * CELLS)
    this.pending.fill(0, session * CELLS, (session + 1) * CELLS)
    if (entry.ipv4) this.addresses.set(entry.ipv4, session)
    if (entry.ipv6) this.addresses.set(entry.ipv6, session)
    return session
  }

  remove(session: number): void {
    const entry = this.leases[session]
    if (!entry) return
    this.setAssociation(session, -1)
    // An address may already belong to the session that came after this one.
    for (const address of [entry.ipv4, entry.ipv6]) {
      if (address && this.addresses.get(address) === session) this.addresses.delete(address)
    }
    this.leases[session] = undefined
    this.families[session] = 0
    this.carriers[session] = Carrier.none
    this.used--
  }

  /** Ties a session to a DTLS association, or unties it with -1. */
  setAssociation(session: number, association: number): void {
    const old = this.associations[session]!
    if (old !== -1) this.sessionOfAssociation[old] = -1
    this.associations[session] = association
    if (association === -1) return
    if (association >= this.sessionOfAssociation.length) {
      const larger = new Int32Array(Math.max(association + 1, this.sessionOfAssociation.length * 2)).fill(-1)
      larger.set(this.sessionOfAssociation)
      this.sessionOfAssociation = larger
    }
    this.sessionOfAssociation[association] = session
  }

  /** The session of an association, or -1. */
  ofAssociation(association: number): number {
    return association < this.sessionOfAssociation.length ? this.sessionOfAssociation[association]! : -1
  }

  /** Stage: owners from association to session. */
  resolveAssociations(batch: PacketBatch): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = this.ofAssociation(batch.owners[slot]!)
      if (session === -1) batch.drop(slot, DropReason.noSession)
      else batch.owners[slot] = session
    }
  }

  /** Stage: owners become the session that holds the destination address. Packets must be well-formed. */
  resolveDestinations(batch: PacketBatch): void {
    const { view, offsets } = batch
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const offset = offsets[slot]!
      const session =
        view.getUint8(offset) >> 4 === 4
          ? this.addresses.findIpv4(view, offset + 16)
          : this.addresses.findIpv6(view, offset + 24)
      if (session === -1) batch.drop(slot, DropReason.noSession)
      else batch.owners[slot] = session
    }
  }

  /** Whether the IPv4 address at `offset` is the session's lease. */
  holdsIpv4(session: number, view: DataView, offset: number): boolean {
    return (this.families[session]! & 1) !== 0 && view.getUint32(offset) === this.words[session * 5]
  }

  /** Whether the IPv6 address at `offset` is the session's lease. */
  holdsIpv6(session: number, view: DataView, offset: number): boolean {
    const { words } = this
    const w = session * 5
    return (
      (this.families[session]! & 2) !== 0 &&
      view.getUint32(offset + 12) === words[w + 4] &&
      view.getUint32(offset + 8) === words[w + 3] &&
      view.getUint32(offset + 4) === words[w + 2] &&
      view.getUint32(offset) === words[w + 1]
    )
  }

  /** Stage: counts the packets of a batch as received from their sessions over `carrier`. None is a super-packet yet. */
  countReceived(batch: PacketBatch, carrier: Carrier): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      this.count(batch.owners[slot]!, carrier === Carrier.datagram ? 4 : 0, 1, batch.lengths[slot]!)
    }
  }

  /** Counts `bytes` of one or more packets as sent to a session over `carrier`. */
  countSent(session: number, carrier: Carrier, bytes: number, packets = 1): void {
    this.count(session, carrier === Carrier.datagram ? 6 : 2, packets, bytes)
  }

  private count(session: number, cell: number, packets: number, bytes: number): void {
    const i = session * CELLS + cell
    this.pending[i] = this.pending[i]! + packets
    this.pending[i + 1] = this.pending[i + 1]! + bytes
    if (this.isTouched[session] === 0) {
      this.isTouched[session] = 1
      this.touched[this.touchedCount++] = session
    }
  }

  /** Reports what passed since the last call, once per session and channel, and adds it to the totals. */
  drainActivity(report: (session: number, carrier: Carrier, traffic: Traffic) => void): void {
    for (let n = 0; n < this.touchedCount; n++) {
      const session = this.touched[n]!
      this.isTouched[session] = 0
      if (!this.leases[session]) continue
      for (const carrier of [Carrier.stream, Carrier.datagram] as const) {
        const at = session * CELLS + (carrier - 1) * 4
        const traffic = trafficAt(this.pending, at)
        if (traffic.packetsReceived === 0 && traffic.packetsSent === 0) continue
        for (let i = at; i < at + 4; i++) {
          this.totals[i] = this.totals[i]! + this.pending[i]!
          this.pending[i] = 0
        }
        report(session, carrier, traffic)
      }
    }
    this.touchedCount = 0
  }

  /** Everything that passed for a session over one channel since `install`, as of the last `drainActivity`. */
  traffic(session: number, carrier: Carrier): Traffic {
    return trafficOf(this.totals, session, carrier)
  }

  private firstFree(): number {
    for (let session = 0; session < this.capacity; session++) if (!this.leases[session]) return session
    return -1
  }
}

const CELLS = 8

/** How many numbers the traffic of so many sessions takes. */
export function trafficCells(capacity: number): number {
  return capacity * CELLS
}

/** Everything that passed for a session over one channel, from the `totals` of a table. */
export function trafficOf(totals: Float64Array, session: number, carrier: Carrier): Traffic {
  return trafficAt(totals, session * CELLS + (carrier - 1) * 4)
}

function trafficAt(cells: Float64Array, at: number): Traffic {
  return {
    packetsReceived: cells[at]!,
    bytesReceived: cells[at + 1]!,
    packetsSent: cells[at + 2]!,
    bytesSent: cells[at + 3]!,
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}
