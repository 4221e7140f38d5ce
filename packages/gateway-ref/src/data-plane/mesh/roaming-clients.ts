import { PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { EndpointTable } from '@twinbore/tun'
import type { SessionTable } from '../session-table.ts'
import type { DatagramRecords } from '../tunnel-side.ts'
import { EndpointPlaces } from './endpoint-places.ts'
import { OfferBudget } from './offer-budget.ts'
import { Handover, type WorkerMesh } from './worker-mesh.ts'

/** Counts of clients whose datagrams arrive at another worker than the one that has their association. */
export interface RoamingStats {
  /** Datagrams that no association here knew, offered to all other workers. */
  readonly offered: number
  /** Those that were not, as there were too many. */
  readonly offersLimited: number
  /** Datagrams of others that an association here knew: its client is followed. */
  readonly adopted: number
  /** Datagrams of others that nobody here knew. */
  readonly refused: number
  /** Datagrams handed to the worker that has their association, without a trial. */
  readonly handedOver: number
  /** Endpoints that are known to be another worker's, now. */
  readonly endpoints: number
}

export interface RoamingClientsOptions {
  readonly mesh: WorkerMesh
  readonly endpoints: EndpointTable
  readonly sessions: SessionTable
  /** Of the associations here, which follow a client that moves. */
  readonly records: DatagramRecords
  /** Whether an association here has its peer at an endpoint. */
  readonly hasPeerAt: (endpoint: number) => boolean
  /** `slotBytes` for the longest packet of a tunnel. */
  readonly batch: PacketBatchOptions
}

/**
 * Follows clients from worker to worker. The kernel chooses the worker by address and port of the client, so when these change,
 * datagrams arrive where nobody knows them.
 *
 *     receiver                                   owner of the association
 *     unknown data record -- **offer** to all --> tries it, follows the client, answers from its own socket
 *     notes the endpoint <------------ **claim** -
 *     what comes from it -------- **datagram** --> opens it
 *     forgets the endpoint <--------- **release** - the association ends, or is heard elsewhere
 *
 * What was offered or handed over is never handed on, so nothing goes round and nothing multiplies. Handshakes are never handed
 * over: a new association is where its hello arrives. What gets lost of this is said again when the next datagram comes.
 */
export class RoamingClients implements Pick<DatagramRecords, 'openDatagrams'> {
  readonly datagrams: PacketBatch
  readonly offers: PacketBatch
  readonly notices: PacketBatch
  private readonly options: RoamingClientsOptions
  private readonly places: EndpointPlaces
  private readonly budget: OfferBudget
  /** Of associations here, where the client is that another worker hears. */
  private readonly claims = new Map<number, Claim>()
  private readonly counts = { offered: 0, offersLimited: 0, adopted: 0, refused: 0, handedOver: 0 }
  private readonly head = new Uint8Array(HEAD_BYTES)
  private readonly notice = new PacketBatch({ capacity: 1, slotBytes: NOTICE_BYTES })
  private readonly senders: Int32Array
  private readonly sources: Int32Array
  private now: Milliseconds = 0
  private isOpening = false

  constructor(options: RoamingClientsOptions) {
    this.options = options
    const { batch, endpoints, mesh } = options
    const layout = { ...batch, slotBytes: (batch.slotBytes ?? LEAST_SLOT_BYTES) + RECORD_ROOM + HEAD_BYTES }
    this.datagrams = new PacketBatch(layout)
    this.offers = new PacketBatch(layout)
    this.notices = new PacketBatch({ slotBytes: NOTICE_BYTES })
    this.senders = new Int32Array(this.datagrams.capacity)
    this.sources = new Int32Array(this.datagrams.capacity)
    this.places = new EndpointPlaces(endpoints)
    this.budget = new OfferBudget(mesh.workers)
  }

  stats(): RoamingStats {
    return { ...this.counts, endpoints: this.places.size }
  }

  /** Where what others hand over is put, by its kind. */
  batchOf(kind: number): PacketBatch {
    return kind === Handover.datagram ? this.datagrams : kind === Handover.offer ? this.offers : this.notices
  }

  // Where datagrams arrive.

  /** Stage, before records are opened: what is known to be another worker's leaves. */
  passOn(batch: PacketBatch, now: Milliseconds): void {
    this.now = now
    if (this.places.size === 0) return
    const { bytes, offsets, lengths, verdicts, owners } = batch
    let endpoint = -1
    let worker = -1
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      if (owners[slot] !== endpoint) {
        endpoint = owners[slot]!
        worker = this.places.find(endpoint, now)
        // Who is heard here comes first; what he can't know is offered.
        if (worker !== -1 && this.options.hasPeerAt(endpoint)) worker = -1
      }
      if (worker !== -1 && isOfAssociation(bytes, offsets[slot]!, lengths[slot]!)) {
        this.handOver(batch, slot, worker)
        this.counts.handedOver++
      }
    }
  }

  /** Takes a datagram that no association here knows. Returns whether others look at it. */
  takeUnknown(batch: PacketBatch, slot: number): boolean {
    if (this.isOpening) return false
    const { endpoints, mesh } = this.options
    const endpoint = batch.owners[slot]!
    // The name of an interface means nothing to another socket's table.
    if (endpoints.zoneOf(endpoint) !== '') return false
    const worker = this.places.find(endpoint, this.now)
    if (worker !== -1) {
      this.handOver(batch, slot, worker)
      this.counts.handedOver++
      return true
    }
    if (!this.budget.take(endpoint, this.now)) {
      this.counts.offersLimited++
      return false
    }
    this.counts.offered++
    this.writeHead(endpoint)
    batch.owners[slot] = mesh.self
    mesh.copyToAll(batch, slot, Handover.offer, this.head)
    return true
  }

  /** An association here is heard at an endpoint from now on. */
  handleEstablished(endpoint: number): void {
    this.places.forget(endpoint)
  }

  /** Does what others have said of endpoints. */
  takeNotices(now: Milliseconds): void {
    const { notices, places } = this
    const { bytes, offsets, owners } = notices
    for (let slot = 0; slot < notices.count; slot++) {
      const at = offsets[slot]!
      const endpoint = this.readHead(bytes, at)
      if (endpoint === -1) continue
      if (bytes[at + HEAD_BYTES] === Notice.claim) places.set(endpoint, owners[slot]!, now)
      else places.release(endpoint, owners[slot]!)
    }
  }

  private handOver(batch: PacketBatch, slot: number, worker: number): void {
    const { mesh } = this.options
    this.writeHead(batch.owners[slot]!)
    batch.owners[slot] = mesh.self
    mesh.handOver(batch, slot, worker, Handover.datagram, this.head)
  }

  // Where associations are.

  /** As that of `records`, for `datagrams` and `offers`: whoever sent them is told what they were. */
  openDatagrams(batch: PacketBatch, now: Milliseconds): void {
    const { records } = this.options
    const { count } = batch
    this.aim(batch)
    this.isOpening = true
    records.openDatagrams(batch, now)
    this.isOpening = false
    for (let slot = 0; slot < count; slot++) {
      const isKnown = batch.verdicts[slot] === Verdict.forward
      if (batch === this.offers) this.answerOffer(batch, slot, isKnown)
      else if (!isKnown) this.answerStray(slot)
    }
  }

  /** An association here is heard at an endpoint from now on, by this worker or by another. */
  handleMoved(association: number, endpoint: number): void {
    if (this.claims.get(association)?.endpoint !== endpoint) this.giveUp(association)
  }

  handleClosed(association: number): void {
    this.giveUp(association)
  }

  /** Takes the heads off. */
  private aim(batch: PacketBatch): void {
    const { offsets, lengths, owners } = batch
    // What others hand over is a batch of its own for the table, else it could grow full of it.
    this.options.endpoints.startBatch()
    for (let slot = 0; slot < batch.count; slot++) {
      this.senders[slot] = owners[slot]!
      const endpoint = batch.verdicts[slot] === Verdict.forward ? this.readHead(batch.bytes, offsets[slot]!) : -1
      this.sources[slot] = endpoint
      if (endpoint === -1) {
        batch.verdicts[slot] = Verdict.drop
        continue
      }
      owners[slot] = endpoint
      offsets[slot] = offsets[slot]! + HEAD_BYTES
      lengths[slot] = lengths[slot]! - HEAD_BYTES
    }
  }

  private answerOffer(batch: PacketBatch, slot: number, isKnown: boolean): void {
    if (!isKnown) {
      this.counts.refused++
      return
    }
    this.counts.adopted++
    const { mesh, sessions } = this.options
    const association = batch.owners[slot]!
    const session = sessions.ofAssociation(association)
    // Another one may have a newer association: then this was the last that was heard of ours.
    if (session === -1 || mesh.places.ownerOf(session) !== mesh.self) return
    const worker = this.senders[slot]!
    const endpoint = this.sources[slot]!
    const before = this.claims.get(association)
    if (before?.worker !== worker || before.endpoint !== endpoint) {
      this.giveUp(association)
      this.writeHead(endpoint)
      this.claims.set(association, { worker, endpoint, head: this.head.slice() })
    } else this.head.set(before.head)
    this.tell(worker, Notice.claim)
  }

  /** What was handed over is of nobody here. Where somebody is, a stranger may have said it in his name. */
  private answerStray(slot: number): void {
    const endpoint = this.sources[slot]!
    if (endpoint === -1 || this.options.hasPeerAt(endpoint)) return
    this.writeHead(endpoint)
    this.tell(this.senders[slot]!, Notice.release)
  }

  private giveUp(association: number): void {
    const claim = this.claims.get(association)
    if (!claim) return
    this.claims.delete(association)
    this.head.set(claim.head)
    this.tell(claim.worker, Notice.release)
  }

  /** Says something of the endpoint of `head`. */
  private tell(worker: number, what: number): void {
    const { notice } = this
    const { mesh } = this.options
    notice.reset()
    const slot = notice.reserve(mesh.self)
    const at = notice.offsets[slot]!
    notice.bytes.set(this.head, at)
    notice.bytes[at + HEAD_BYTES] = what
    notice.lengths[slot] = NOTICE_BYTES
    mesh.handOver(notice, slot, worker, Handover.notice)
  }

  private writeHead(endpoint: number): void {
    const { head } = this
    const { endpoints } = this.options
    const port = endpoints.portOf(endpoint)
    endpoints.copyAddress(endpoint, head, 0, ADDRESS_BYTES)
    head[ADDRESS_BYTES] = port >>> 8
    head[ADDRESS_BYTES + 1] = port & 0xff
  }

  private readHead(bytes: Uint8Array, at: number): number {
    const port = (bytes[at + ADDRESS_BYTES]! << 8) | bytes[at + ADDRESS_BYTES + 1]!
    return this.options.endpoints.internBytes(bytes, at, ADDRESS_BYTES, port)
  }

  /** Every batch that counts drops. */
  get batches(): readonly PacketBatch[] {
    return [this.datagrams, this.offers, this.notices, this.notice]
  }
}

interface Claim {
  readonly worker: number
  readonly endpoint: number
  readonly head: Uint8Array
}

/** Before a datagram that changes hands: the address of its sender, IPv4 as IPv4-mapped, and its port. */
const ADDRESS_BYTES = 16
const HEAD_BYTES: number = ADDRESS_BYTES + 2
/** A head, and a `Notice`. */
const NOTICE_BYTES: number = HEAD_BYTES + 1
const Notice = { release: 0, claim: 1 } as const
const LEAST_SLOT_BYTES = 2048
/** More than a record adds to a packet. */
const RECORD_ROOM = 64

/** Application data and alerts of epoch 1 are an association's; all else may be a handshake's. RFC 6347 §4.1. */
function isOfAssociation(bytes: Uint8Array, at: number, length: number): boolean {
  return length > 13 && (bytes[at] === 23 || bytes[at] === 21) && bytes[at + 3] === 0 && bytes[at + 4] === 1
}
