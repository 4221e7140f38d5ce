import { IPV4_HEADER_BYTES, Ipv4Field, Ipv6Field, type PacketBatch } from '@twinbore/core/packet'

const setCount = 32
const ways = 4

/**
 * The super-packets that still grow, one a flow, found by the flow: a table of 32 sets of 4 in typed arrays. When a set is
 * full the oldest one makes room, which costs a shorter super-packet and nothing else; so hashes that somebody makes collide
 * do no harm.
 */
export class FlowGroups {
  /** The first slot of each entry's super-packet, -1 when it has ended. */
  readonly heads: Int32Array = new Int32Array(setCount * ways)
  readonly tails: Int32Array = new Int32Array(setCount * ways)
  /** Hashes of both addresses. */
  readonly addressHashes: Int32Array = new Int32Array(setCount * ways)
  /** Where the transport header is, and its protocol. */
  readonly transports: Uint8Array = new Uint8Array(setCount * ways)
  readonly protocols: Uint8Array = new Uint8Array(setCount * ways)
  /** 1 where all identifications are the same, 0 where they count up. */
  readonly fixedIdentifications: Uint8Array = new Uint8Array(setCount * ways)
  /** The entries in use since `begin`, the first `used` of them. */
  readonly order: Int32Array = new Int32Array(setCount * ways)
  used = 0
  /** What `look` found: the flow's entry or -1, and the entry that a new super-packet of the flow would take. */
  found = -1
  free = -1
  private readonly flowHashes = new Int32Array(setCount * ways)
  private readonly generations = new Int32Array(setCount * ways)
  private generation = 0
  private lookedAddresses = 0
  private lookedFlow = 0

  /** Forgets everything. */
  begin(): void {
    this.generation = (this.generation + 1) | 0
    this.used = 0
  }

  /** Looks for the flow of the packet at `at`; sets `found` and `free`. */
  look(batch: PacketBatch, at: number, transport: number, protocol: number, owner: number): void {
    const { view } = batch
    const addresses = addressHash(view, at)
    const ports = view.getInt32(at + transport)
    const flow = mix(addresses ^ Math.imul(ports, 0x85ebca6b) ^ Math.imul(owner, 0x27d4eb2f) ^ protocol)
    this.lookedAddresses = addresses
    this.lookedFlow = flow
    this.found = -1
    const first = (flow & (setCount - 1)) * ways
    let oldest = Number.MAX_SAFE_INTEGER
    for (let entry = first; entry < first + ways; entry++) {
      const head = this.generations[entry] === this.generation ? this.heads[entry]! : -1
      if (head < oldest) {
        oldest = head
        this.free = entry
      }
      if (
        head !== -1 &&
        this.flowHashes[entry] === flow &&
        this.protocols[entry] === protocol &&
        this.transports[entry] === transport &&
        batch.owners[head] === owner &&
        sameEnds(view, batch.offsets[head]!, at, transport)
      ) {
        this.found = entry
        return
      }
    }
  }

  /** Begins a super-packet with the slot that `look` looked for. An entry that is taken must have been ended. */
  open(entry: number, slot: number, transport: number, protocol: number): void {
    if (this.generations[entry] !== this.generation) {
      this.generations[entry] = this.generation
      this.order[this.used++] = entry
    }
    this.heads[entry] = slot
    this.tails[entry] = slot
    this.flowHashes[entry] = this.lookedFlow
    this.addressHashes[entry] = this.lookedAddresses
    this.transports[entry] = transport
    this.protocols[entry] = protocol
  }

  /** The slot of an entry's super-packet, -1 when there is none. */
  headOf(entry: number): number {
    return this.generations[entry] === this.generation ? this.heads[entry]! : -1
  }

  /**
   * Whether the IPv4 identification of the packet at `at` goes on as a cut would make it: counting up. Under "don't
   * fragment" it may stay the same instead.
   */
  takesIdentification(batch: PacketBatch, entry: number, at: number): boolean {
    const { view } = batch
    const head = this.heads[entry]!
    const first = batch.offsets[head]!
    const identification = view.getUint16(at + Ipv4Field.identification)
    const start = view.getUint16(first + Ipv4Field.identification)
    const segments = batch.segments[head]!
    const counts = identification === ((start + segments) & 0xffff)
    if (view.getUint16(at + Ipv4Field.flagsAndFragmentOffset) === 0) return counts
    if (segments === 1) this.fixedIdentifications[entry] = counts ? 0 : 1
    return this.fixedIdentifications[entry] === 1 ? identification === start : counts
  }
}

/** A hash of the addresses of the IP packet at `at`, whose header is whole. */
export function addressHash(view: DataView, at: number): number {
  if (view.getUint8(at) >>> 4 === 4) {
    const source = view.getInt32(at + Ipv4Field.source)
    return mix(Math.imul(source, 0x9e3779b1) ^ view.getInt32(at + Ipv4Field.destination))
  }
  let hash = 0
  for (let i = Ipv6Field.source; i < Ipv6Field.source + 32; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(at + i), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return hash
}

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** Whether two packets of one family have the same addresses and ports. */
function sameEnds(view: DataView, a: number, b: number, transport: number): boolean {
  // Addresses end where the transport header begins, in both families, and ports are its first word.
  const from = transport === IPV4_HEADER_BYTES ? Ipv4Field.source : Ipv6Field.source
  for (let i = from; i <= transport; i += 4) if (view.getInt32(a + i) !== view.getInt32(b + i)) return false
  return true
}
