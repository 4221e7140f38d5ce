// A server and its clients on a seeded link, in virtual time.
import {
  type AssociationOutput,
  type CryptoProvider,
  DtlsAssociation,
  type DtlsClientOptions,
  DtlsServer,
  type DtlsServerOptions,
  type ServerOutput,
} from '../src/index.ts'
import { nodeCrypto, systemCrypto } from '../src/io/index.ts'
import { SeededRandom } from './seeded-random.ts'

/** Primitives of the tests: those that a user gets, or node:crypto alone when the environment says `DTLS_CRYPTO=node`. */
export const testCrypto: CryptoProvider = process.env.DTLS_CRYPTO === 'node' ? nodeCrypto : systemCrypto

export const testKey: Uint8Array = new Uint8Array(32).fill(0x5a)
export const testSession: Uint8Array = new Uint8Array(32).fill(0xa1)

export interface LinkOptions {
  /** Shares of datagrams, 0 to 1. */
  readonly loss?: number
  readonly duplicates?: number
  readonly minDelayMs?: number
  readonly maxDelayMs?: number
  /** Longer datagrams are lost. */
  readonly mtu?: number
}

export interface TestClient {
  readonly association: DtlsAssociation
  /** Where the server sees it; change it and the client has moved. */
  endpoint: number
  readonly outputs: Exclude<AssociationOutput, { type: 'transmit' }>[]
  sentDatagrams: number
}

interface Transit {
  readonly at: number
  readonly order: number
  readonly arrive: () => void
}

/** Datagrams that crossed the link, for tests that replay or forge. */
export interface Crossing {
  readonly to: 'server' | 'client'
  readonly endpoint: number
  readonly bytes: Uint8Array
}

export class World {
  now = 1000
  readonly random: SeededRandom
  readonly server: DtlsServer
  readonly clients: TestClient[] = []
  readonly serverOutputs: Exclude<ServerOutput, { type: 'transmit' }>[] = []
  readonly crossings: Crossing[] = []
  /** Looks at every datagram before the link does; false loses it. */
  filter: (crossing: Crossing) => boolean = () => true
  link: LinkOptions
  sentByServer = 0
  private transits: Transit[] = []
  private order = 0

  constructor(seed: number, link: LinkOptions = {}, options: Partial<DtlsServerOptions> = {}) {
    this.random = new SeededRandom(seed)
    this.link = link
    this.server = new DtlsServer({
      crypto: testCrypto,
      random: this.random,
      findPsk: () => testKey,
      hostOf: endpoint => `host-${Math.floor(endpoint / 100)}`,
      ...options,
    })
  }

  /** Adds a client and starts its handshake. */
  connect(options: Partial<DtlsClientOptions> = {}, endpoint = this.clients.length): TestClient {
    const association = new DtlsAssociation({
      crypto: testCrypto,
      random: this.random,
      psk: { identity: 'psk', key: testKey },
      sessionId: testSession,
      ...options,
      role: 'client',
    })
    const client: TestClient = { association, endpoint, outputs: [], sentDatagrams: 0 }
    this.clients.push(client)
    association.start(this.now)
    this.drain()
    return client
  }

  /** Hands a datagram to the server as if it came from an endpoint. */
  toServer(endpoint: number, bytes: Uint8Array): void {
    this.server.handleDatagram(endpoint, bytes.slice(), this.now)
    this.drain()
  }

  toClient(client: TestClient, bytes: Uint8Array): void {
    client.association.handleDatagram(bytes.slice(), this.now)
    this.drain()
  }

  send(client: TestClient, text: string): void {
    client.association.send(new TextEncoder().encode(text), this.now)
    this.drain()
  }

  /** Lets everything happen up to a time, or until nothing is left to happen before it. */
  run(durationMs: number): void {
    this.drain()
    const until = this.now + durationMs
    for (;;) {
      const next = this.nextTime()
      if (next === undefined || next > until) break
      this.now = Math.max(this.now, next)
      const arrived = this.transits.filter(transit => transit.at <= this.now)
      this.transits = this.transits.filter(transit => transit.at > this.now)
      arrived.sort((a, b) => a.at - b.at || a.order - b.order)
      for (const transit of arrived) transit.arrive()
      this.server.handleDeadline(this.now)
      for (const client of this.clients) client.association.handleDeadline(this.now)
      this.drain()
    }
    this.now = until
  }

  /** Texts that the server received, with their associations. */
  get receivedByServer(): string[] {
    return this.serverOutputs.flatMap(output => (output.type === 'received' ? [textOf(output.bytes)] : []))
  }

  drain(): void {
    for (let output = this.server.poll(); output !== undefined; output = this.server.poll()) {
      if (output.type !== 'transmit') {
        this.serverOutputs.push(output)
        continue
      }
      this.sentByServer++
      const { endpoint, bytes } = output
      this.cross({ to: 'client', endpoint, bytes })
    }
    for (const client of this.clients) {
      for (let output = client.association.poll(); output !== undefined; output = client.association.poll()) {
        if (output.type !== 'transmit') {
          client.outputs.push(output)
          continue
        }
        client.sentDatagrams++
        this.cross({ to: 'server', endpoint: client.endpoint, bytes: output.bytes })
      }
    }
  }

  private cross(crossing: Crossing): void {
    this.crossings.push(crossing)
    if (!this.filter(crossing)) return
    const { loss = 0, duplicates = 0, minDelayMs = 10, maxDelayMs = minDelayMs, mtu = 65_535 } = this.link
    const copies = this.random.unit() < duplicates ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (crossing.bytes.length > mtu || this.random.unit() < loss) continue
      const delay = minDelayMs + this.random.unit() * (maxDelayMs - minDelayMs)
      this.transits.push({ at: this.now + delay, order: this.order++, arrive: () => this.arrive(crossing) })
    }
  }

  private arrive({ to, endpoint, bytes }: Crossing): void {
    if (to === 'server') this.toServer(endpoint, bytes)
    else for (const client of this.clients.filter(client => client.endpoint === endpoint)) this.toClient(client, bytes)
  }

  private nextTime(): number | undefined {
    const times = [
      ...this.transits.map(transit => transit.at),
      this.server.deadline,
      ...this.clients.map(client => client.association.deadline),
    ].filter(time => time !== undefined)
    return times.length === 0 ? undefined : Math.min(...times)
  }
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

export function typesOf(outputs: readonly { readonly type: string }[]): string[] {
  return outputs.map(output => output.type)
}

/** The records of a datagram, each by itself. */
export function splitRecords(datagram: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = []
  for (let at = 0; at < datagram.length; ) {
    const end = at + 13 + ((datagram[at + 11]! << 8) | datagram[at + 12]!)
    records.push(datagram.slice(at, end))
    at = end
  }
  return records
}
