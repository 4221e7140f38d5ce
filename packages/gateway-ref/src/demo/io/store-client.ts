import { createHash } from 'node:crypto'
import { GatewayError } from '../../errors.ts'
import { CHUNK_BYTES, decodeStoreMessage, encodeRequest, type StoreMessage, StoreOperation } from '../store-protocol.ts'
import type { UdpEndpoint } from '../udp-endpoint.ts'

/** How a run of requests is made. */
export interface ExchangeOptions {
  /** Requests that may wait for their answers at once. @defaultValue 64 */
  readonly window?: number
  /** Silence after which a request is sent again, in milliseconds. @defaultValue 500 */
  readonly retryMs?: number
  /** The longest that all of it may take, in seconds. */
  readonly seconds: number
  readonly signal: AbortSignal
}

/** One way of a file. */
export interface FileTransfer {
  readonly bytes: number
  readonly seconds: number
}

interface Pending {
  readonly datagram: Uint8Array
  readonly settle: (answer: StoreMessage) => void
  sentAt: number
}

/** Asks the store of the intranet through the tunnel: many requests at once, and again what is not answered. */
export class StoreClient {
  private readonly endpoint: UdpEndpoint
  private readonly pending = new Map<number, Pending>()
  private nextId = 1

  constructor(endpoint: UdpEndpoint) {
    this.endpoint = endpoint
    endpoint.onDatagram = payload => this.handle(payload)
  }

  /** The address and port that the intranet sees. */
  async whoAmI(options: ExchangeOptions): Promise<string> {
    let text = ''
    const request = (id: number) => encodeRequest(StoreOperation.whoAmI, id)
    const take = (_: number, { bytes }: StoreMessage) => {
      text = new TextDecoder().decode(bytes)
    }
    await this.exchange(1, request, take, options)
    return text
  }

  /** Round trips one after the other, in milliseconds, shortest first. */
  async roundTrips(count: number, options: ExchangeOptions): Promise<number[]> {
    const times: number[] = []
    let last = performance.now()
    const request = (id: number) => encodeRequest(StoreOperation.echo, id, 0, new Uint8Array(56))
    const take = () => {
      const now = performance.now()
      times.push(now - last)
      last = now
    }
    await this.exchange(count, request, take, { ...options, window: 1 })
    return times.sort((a, b) => a - b)
  }

  /** Sends a file to the store, chunk by chunk. */
  async upload(file: Uint8Array, options: ExchangeOptions): Promise<FileTransfer> {
    const request = (id: number, index: number) =>
      encodeRequest(StoreOperation.put, id, index, file.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES))
    return this.timed(file.length, () => this.exchange(chunksOf(file.length), request, () => {}, options))
  }

  /** Fetches the file back, and says whether it is the same. */
  async download(file: Uint8Array, options: ExchangeOptions): Promise<FileTransfer & { readonly equal: boolean }> {
    const back = new Uint8Array(file.length)
    const request = (id: number, index: number) => encodeRequest(StoreOperation.get, id, index)
    const take = (index: number, { bytes }: StoreMessage) => {
      const at = index * CHUNK_BYTES
      back.set(bytes.subarray(0, back.length - at), at)
    }
    const transfer = await this.timed(file.length, () => this.exchange(chunksOf(file.length), request, take, options))
    return { ...transfer, equal: sha256(back) === sha256(file) }
  }

  private async timed(bytes: number, work: () => Promise<void>): Promise<FileTransfer> {
    const start = performance.now()
    await work()
    return { bytes, seconds: (performance.now() - start) / 1000 }
  }

  private exchange(
    count: number,
    request: (id: number, index: number) => Uint8Array,
    take: (index: number, answer: StoreMessage) => void,
    { window = 64, retryMs = 500, seconds, signal }: ExchangeOptions,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let sent = 0
      let answered = 0
      const finish = (error?: Error) => {
        clearInterval(retry)
        clearTimeout(deadline)
        signal.removeEventListener('abort', onAbort)
        this.pending.clear()
        if (error) reject(error)
        else resolve()
      }
      const sendNext = () => {
        const index = sent++
        const id = this.nextId++
        const settle = (answer: StoreMessage) => {
          this.pending.delete(id)
          take(index, answer)
          answered++
          if (answered === count) finish()
          else if (sent < count) sendNext()
        }
        const datagram = request(id, index)
        this.pending.set(id, { datagram, settle, sentAt: performance.now() })
        this.endpoint.send(datagram)
      }
      const retry = setInterval(() => this.sendAgain(retryMs), Math.min(retryMs, 50))
      const deadline = setTimeout(() => finish(unanswered(answered, count, seconds)), seconds * 1000)
      const onAbort = () => finish(new GatewayError('ERR_GATEWAY_ABORTED', 'stopped'))
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) return onAbort()
      while (sent < Math.min(window, count)) sendNext()
      this.endpoint.flush()
    })
  }

  private handle(payload: Uint8Array): void {
    const message = decodeStoreMessage(payload)
    if (message?.answer) this.pending.get(message.id)?.settle(message)
  }

  private sendAgain(retryMs: number): void {
    const now = performance.now()
    for (const entry of this.pending.values()) {
      if (now - entry.sentAt < retryMs) continue
      entry.sentAt = now
      this.endpoint.send(entry.datagram)
    }
    this.endpoint.flush()
  }
}

function unanswered(answered: number, count: number, seconds: number): GatewayError {
  const what = answered === 0 ? 'no answer' : `only ${answered} of ${count} answers`
  return new GatewayError(
    'ERR_GATEWAY_UNREACHABLE',
    `${what} from the intranet within ${seconds} s; a firewall of this host that drops forwarded packets may be the reason`,
  )
}

function chunksOf(bytes: number): number {
  return Math.ceil(bytes / CHUNK_BYTES)
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
