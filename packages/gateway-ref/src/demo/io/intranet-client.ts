import { createHash } from 'node:crypto'
import type { TunnelClient } from '../../client/io/tunnel-client.ts'
import { GatewayError } from '../../errors.ts'

/** One way of a file. */
export interface FileTransfer {
  readonly seconds: number
  /** SHA-256 of what arrived at the other side, in hexadecimal. */
  readonly sha256: string
}

/** Asks the intranet's web server through a tunnel. */
export class IntranetClient {
  private readonly tunnel: Pick<TunnelClient, 'fetch'>
  private readonly url: string
  private readonly signal: AbortSignal
  private readonly timeoutMs: number

  constructor(
    tunnel: Pick<TunnelClient, 'fetch'>,
    { url, signal, seconds }: { readonly url: string; readonly signal: AbortSignal; readonly seconds: number },
  ) {
    this.tunnel = tunnel
    this.url = url
    this.signal = signal
    this.timeoutMs = seconds * 1000
  }

  /** The text of a page. */
  async page(path: string): Promise<string> {
    const response = await this.fetch(path)
    return this.reading(response.text())
  }

  /** How long pages take, one after the other, in milliseconds, shortest first. */
  async roundTrips(count: number): Promise<number[]> {
    const times: number[] = []
    for (let i = 0; i < count; i++) {
      const before = performance.now()
      await this.page('/whoami')
      times.push(performance.now() - before)
    }
    return times.sort((a, b) => a - b)
  }

  /** Sends a file there. */
  async upload(file: Uint8Array): Promise<FileTransfer> {
    const before = performance.now()
    const response = await this.fetch('/file', { method: 'PUT', body: file as Uint8Array<ArrayBuffer> })
    const sha256 = await this.reading(response.text())
    return { seconds: (performance.now() - before) / 1000, sha256 }
  }

  /** Fetches it back. */
  async download(): Promise<FileTransfer> {
    const before = performance.now()
    const response = await this.fetch('/file')
    const hash = createHash('sha256')
    const read = async () => {
      for await (const part of response.body ?? []) hash.update(part as Uint8Array)
    }
    await this.reading(read())
    return { seconds: (performance.now() - before) / 1000, sha256: hash.digest('hex') }
  }

  private async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(this.timeoutMs)])
    const response = await this.reading(this.tunnel.fetch(`${this.url}${path}`, { ...init, signal }))
    if (!response.ok) throw unanswered(`${path} is answered with ${response.status}`)
    return response
  }

  /** Failures in the words of the program. */
  private async reading<Value>(promise: Promise<Value>): Promise<Value> {
    try {
      return await promise
    } catch (error) {
      if (this.signal.aborted) throw new GatewayError('ERR_GATEWAY_ABORTED', 'stopped', { cause: error })
      if (error instanceof GatewayError) throw error
      const { name, message, cause } = error as Error
      if (name === 'TimeoutError') throw unanswered(`no answer within ${this.timeoutMs / 1000} s`, error)
      throw unanswered(cause instanceof Error ? cause.message : message, error)
    }
  }
}

function unanswered(what: string, cause?: unknown): GatewayError {
  return new GatewayError('ERR_GATEWAY_UNREACHABLE', `the intranet: ${what}`, { cause })
}
