import type { RemoteEndpoint } from './datagram-port.ts'

/** Endpoints that nobody retains are forgotten beyond this many. */
const MAX_IDLE = 4096

interface Entry extends RemoteEndpoint {
  readonly key: string
  retained: number
}

/** Numbers for endpoints, as `DtlsServer` wants them. Retained ones stay; of the others the oldest are forgotten. */
export class EndpointNumbers {
  private readonly numbers = new Map<string, number>()
  private readonly entries = new Map<number, Entry>()
  private readonly idle = new Set<number>()
  private next = 0

  /** The number of an endpoint; good at least until the next call if nobody retains it. */
  intern(address: string, port: number): number {
    const key = `${address} ${port}`
    const known = this.numbers.get(key)
    if (known !== undefined) return known
    if (this.idle.size >= MAX_IDLE) this.forget(this.idle.values().next().value!)
    const number = this.next++
    this.numbers.set(key, number)
    this.entries.set(number, { key, address, port, retained: 0 })
    this.idle.add(number)
    return number
  }

  get(number: number): RemoteEndpoint | undefined {
    return this.entries.get(number)
  }

  retain(number: number): void {
    const entry = this.entries.get(number)
    if (entry === undefined) return
    entry.retained++
    this.idle.delete(number)
  }

  release(number: number): void {
    const entry = this.entries.get(number)
    if (entry === undefined) return
    entry.retained--
    if (entry.retained === 0) this.idle.add(number)
  }

  private forget(number: number): void {
    this.numbers.delete(this.entries.get(number)!.key)
    this.entries.delete(number)
    this.idle.delete(number)
  }
}
