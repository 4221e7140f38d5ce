import { addressText, isIpv4Mapped, parseAddress } from './ip-text.ts'

/** An address and a port. IPv4-mapped IPv6 addresses are given as IPv4. A link-local address keeps its zone: `fe80::1%eth0`. */
export interface Endpoint {
  readonly family: 4 | 6
  readonly address: string
  /** 0 to 65535. */
  readonly port: number
}

export interface EndpointTableOptions {
  /** Endpoints known at once; one costs about 60 bytes, plus its text. @defaultValue 65_536 */
  readonly capacity?: number
}

/**
 * Peers as small integers, so that a batch can name them. At most `capacity` are known; when the table is full, a new
 * endpoint takes the place of the one that was used longest ago, except of those that are retained or that were used since
 * the last `startBatch`. So an index that nobody retains is good until the next batch; whoever keeps an index for longer
 * (an association, a session) retains it.
 *
 * Entries live in typed arrays: a chained hash over the 16 address bytes, zone and port, and a list of the unretained in
 * order of use.
 */
export class EndpointTable {
  readonly capacity: number
  private readonly addresses: Uint8Array
  private readonly words: Uint32Array
  private readonly ports: Uint16Array
  private readonly zones: Uint16Array
  private readonly retained: Int32Array
  private readonly usedIn: Float64Array
  private readonly texts: (string | undefined)[]
  private readonly buckets: Int32Array
  private readonly chain: Int32Array
  /** Order of use of the unretained: neighbours towards the older and the newer; the last place is the list's head. */
  private readonly older: Int32Array
  private readonly newer: Int32Array
  private readonly zoneNames: string[] = ['']
  private readonly scratch = new Uint8Array(16)
  private readonly scratchWords = new Uint32Array(this.scratch.buffer)
  private batch = 1
  private used = 0
  private lastText = ''
  private lastPort = -1
  private lastIndex = -1

  constructor(options: EndpointTableOptions = {}) {
    const capacity = options.capacity ?? 65_536
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 0x100_0000) {
      throw new RangeError('capacity must be 1 to 16777216')
    }
    this.capacity = capacity
    this.addresses = new Uint8Array(capacity * 16)
    this.words = new Uint32Array(this.addresses.buffer)
    this.ports = new Uint16Array(capacity)
    this.zones = new Uint16Array(capacity)
    this.retained = new Int32Array(capacity)
    this.usedIn = new Float64Array(capacity)
    this.texts = []
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(capacity + 1))).fill(-1)
    this.chain = new Int32Array(capacity)
    this.older = new Int32Array(capacity + 1)
    this.newer = new Int32Array(capacity + 1)
    this.older[capacity] = capacity
    this.newer[capacity] = capacity
  }

  /** How many endpoints are known. */
  get size(): number {
    return this.used
  }

  /** Begins a batch: indices interned from here on stay good until the next call. Sockets call it in `receive`. */
  startBatch(): void {
    this.batch++
    this.lastPort = -1
  }

  /**
   * The index of an endpoint, new or known. Returns -1 for text that is not an address, and when every entry is retained
   * or in use by the current batch.
   */
  intern(address: string, port: number): number {
    if (port === this.lastPort && address === this.lastText) return this.lastIndex
    const zone = this.read(address)
    if (zone === -1 || port < 0 || port > 65535) return -1
    const index = this.internScratch(zone, port)
    if (index === -1) return -1
    this.lastText = address
    this.lastPort = port
    this.lastIndex = index
    return index
  }

  /**
   * As `intern`, for the `length` (4 or 16) bytes of an address as they lie at `at`. `zone` is the name of the interface
   * of a link-local address.
   */
  internBytes(bytes: Uint8Array, at: number, length: number, port: number, zone = ''): number {
    const { scratch } = this
    if (length === 16) {
      for (let i = 0; i < 16; i++) scratch[i] = bytes[at + i]!
    } else {
      this.scratchWords[0] = 0
      this.scratchWords[1] = 0
      scratch[8] = 0
      scratch[9] = 0
      scratch[10] = 0xff
      scratch[11] = 0xff
      for (let i = 0; i < 4; i++) scratch[12 + i] = bytes[at + i]!
    }
    const number = zone === '' ? 0 : this.zoneNumber(zone)
    return number === -1 ? -1 : this.internScratch(number, port)
  }

  private internScratch(zone: number, port: number): number {
    const bucket = this.bucketOf(this.scratchWords, 0, zone, port)
    let index = this.find(bucket, zone, port)
    if (index === -1) {
      index = this.place()
      if (index === -1) return -1
      this.addresses.set(this.scratch, index * 16)
      this.ports[index] = port
      this.zones[index] = zone
      this.retained[index] = 0
      this.texts[index] = undefined
      this.chain[index] = this.buckets[bucket]!
      this.buckets[bucket] = index
      this.append(index)
    } else if (this.retained[index] === 0) {
      this.unlink(index)
      this.append(index)
    }
    this.usedIn[index] = this.batch
    return index
  }

  /** Keeps an index from being given to another endpoint. Each call wants its `release`. */
  retain(index: number): void {
    this.check(index)
    if (this.retained[index] === 0) this.unlink(index)
    this.retained[index] = this.retained[index]! + 1
  }

  /** Takes back one `retain`. */
  release(index: number): void {
    this.check(index)
    if (this.retained[index] === 0) throw new RangeError(`endpoint ${index} is not retained`)
    this.retained[index] = this.retained[index]! - 1
    if (this.retained[index] === 0) this.append(index)
  }

  /** Whether an index names an endpoint. */
  has(index: number): boolean {
    return index >= 0 && index < this.used
  }

  /** What an index stands for. @throws RangeError for an index that was never given out */
  describe(index: number): Endpoint {
    return { family: this.familyOf(index), address: this.addressOf(index), port: this.portOf(index) }
  }

  /** The address of an endpoint, as text. The text is made once per entry. */
  addressOf(index: number): string {
    this.check(index)
    let text = this.texts[index]
    if (text === undefined) {
      text = this.textOf(index)
      this.texts[index] = text
    }
    return text
  }

  portOf(index: number): number {
    this.check(index)
    return this.ports[index]!
  }

  familyOf(index: number): 4 | 6 {
    this.check(index)
    const word = index * 4
    if (this.words[word] !== 0 || this.words[word + 1] !== 0) return 6
    const { addresses } = this
    const at = index * 16
    const mapped =
      addresses[at + 8] === 0 && addresses[at + 9] === 0 && addresses[at + 10] === 0xff && addresses[at + 11] === 0xff
    return mapped ? 4 : 6
  }

  /** The zone of a link-local address (an interface name), or ''. */
  zoneOf(index: number): string {
    this.check(index)
    return this.zoneNames[this.zones[index]!]!
  }

  /** Copies the last `length` (4 or 16) bytes of an address, which has 16 of them, to `at`. */
  copyAddress(index: number, into: Uint8Array, at: number, length: number): void {
    this.check(index)
    const from = index * 16 + 16 - length
    for (let i = 0; i < length; i++) into[at + i] = this.addresses[from + i]!
  }

  private check(index: number): void {
    if (!this.has(index)) throw new RangeError(`no endpoint has the index ${index}`)
  }

  /** Reads the address into `scratch`; returns its zone, or -1 if the text is not an address. */
  private read(address: string): number {
    const percent = address.indexOf('%')
    if (percent === -1) return parseAddress(address, this.scratch) ? 0 : -1
    if (!address.includes(':') || !parseAddress(address.slice(0, percent), this.scratch)) return -1
    return this.zoneNumber(address.slice(percent + 1))
  }

  private zoneNumber(name: string): number {
    const zone = this.zoneNames.indexOf(name)
    if (zone !== -1) return zone
    return this.zoneNames.length === MAX_ZONES ? -1 : this.zoneNames.push(name) - 1
  }

  private find(bucket: number, zone: number, port: number): number {
    const { scratchWords } = this
    const a = scratchWords[0]
    const b = scratchWords[1]
    const c = scratchWords[2]
    const d = scratchWords[3]
    for (let index = this.buckets[bucket]!; index !== -1; index = this.chain[index]!) {
      const word = index * 4
      if (
        this.words[word + 3] === d &&
        this.ports[index] === port &&
        this.words[word + 2] === c &&
        this.words[word + 1] === b &&
        this.words[word] === a &&
        this.zones[index] === zone
      ) {
        return index
      }
    }
    return -1
  }

  /** A free entry, or the unretained one that was used longest ago. -1 if there is none. */
  private place(): number {
    if (this.used < this.capacity) return this.used++
    const victim = this.newer[this.capacity]!
    if (victim === this.capacity || this.usedIn[victim] === this.batch) return -1
    this.unlink(victim)
    const bucket = this.bucketOf(this.words, victim * 4, this.zones[victim]!, this.ports[victim]!)
    let at = this.buckets[bucket]!
    if (at === victim) this.buckets[bucket] = this.chain[victim]!
    else {
      while (this.chain[at] !== victim) at = this.chain[at]!
      this.chain[at] = this.chain[victim]!
    }
    if (this.lastIndex === victim) this.lastPort = -1
    return victim
  }

  private bucketOf(words: Uint32Array, at: number, zone: number, port: number): number {
    let hash = Math.imul(words[at]! ^ 0x9e3779b9, 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + 1]!, 0xc2b2ae35)
    hash = Math.imul(hash ^ (hash >>> 13) ^ words[at + 2]!, 0x27d4eb2f)
    hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + 3]!, 0x165667b1)
    hash = Math.imul(hash ^ (hash >>> 13) ^ port ^ (zone << 16), 0x85ebca6b)
    return (hash ^ (hash >>> 16)) & (this.buckets.length - 1)
  }

  private append(index: number): void {
    const head = this.capacity
    const newest = this.older[head]!
    this.newer[newest] = index
    this.older[index] = newest
    this.newer[index] = head
    this.older[head] = index
  }

  private unlink(index: number): void {
    this.newer[this.older[index]!] = this.newer[index]!
    this.older[this.newer[index]!] = this.older[index]!
  }

  private textOf(index: number): string {
    const bytes = this.addresses.subarray(index * 16, index * 16 + 16)
    const text = addressText(isIpv4Mapped(bytes) ? bytes.subarray(12) : bytes)
    const zone = this.zones[index]!
    return zone === 0 ? text : `${text}%${this.zoneNames[zone]}`
  }
}

/** Interface names that zones may use. A host has few; the bound keeps invented ones from growing the list. */
const MAX_ZONES = 256
