import { domainToASCII } from 'node:url'
import { IpAddress } from '@twinbore/core/address'
import { type Driver, drive, systemRandom } from '@twinbore/core/io'
import type { Random } from '@twinbore/core/runtime'
import { type StackHost, UdpSocket } from '@twinbore/tun/io'
import { AddressRecord } from '../dns-message.ts'
import { type NameFailure, NameQuery, type NameQueryOutput } from '../name-query.ts'
import { searchNames } from '../search-names.ts'
import { nameError } from './name-error.ts'
import { askByStream } from './stream-question.ts'

export interface ResolverOptions {
  readonly host: StackHost
  /** Asked in this order. */
  readonly servers: readonly IpAddress[]
  readonly searchDomains: readonly string[]
  /** The stack's own address of a family; `undefined` when it has none. */
  readonly ownAddress: (family: 4 | 6) => string | undefined
  readonly random?: Random
  /** How long a server has at first, in milliseconds. @defaultValue 1500 */
  readonly timeoutMs?: number
  readonly rounds?: number
}

/** An address that a name has. */
export interface ResolvedAddress {
  readonly address: string
  readonly family: 4 | 6
  /** Seconds that the answer may be kept. */
  readonly ttlSeconds: number
}

/** Looks names up by the name servers of a tunnel, through the tunnel. Keeps nothing. */
export class Resolver {
  private readonly options: ResolverOptions

  constructor(options: ResolverOptions) {
    this.options = options
  }

  /**
   * The addresses of one family.
   *
   * @throws an error with a code of `NameFailure`, or the reason of an aborted signal or a closed host
   */
  async resolve(name: string, family: 4 | 6, signal?: AbortSignal): Promise<readonly ResolvedAddress[]> {
    const literal = IpAddress.parse(name)
    if (literal) {
      if (literal.family !== family) throw nameError('ENODATA', name)
      return [{ address: literal.toString(), family, ttlSeconds: 0 }]
    }
    // What is "this computer" is not a matter of the tunnel (RFC 6761 §6.3).
    if (/(^|\.)localhost\.?$/i.test(name)) throw nameError('ENOTFOUND', name)
    const ascii = domainToASCII(name)
    if (ascii === '' || !hasNameLabels(ascii)) throw nameError('EBADNAME', name)
    let failure: NameFailure = 'ENOTFOUND'
    for (const candidate of searchNames(ascii, this.options.searchDomains)) {
      const end = await this.ask(candidate, family, signal)
      if (end.type === 'answered') {
        const { addresses, ttlSeconds } = end
        return addresses.map(address => ({ address: address.toString(), family, ttlSeconds }))
      }
      // That a name has no such record says more than that another doesn't exist.
      if (failure !== 'ENODATA') failure = end.reason
      if (end.reason !== 'ENOTFOUND' && end.reason !== 'ENODATA') break
    }
    throw nameError(failure, name)
  }

  private ask(name: string, family: 4 | 6, signal: AbortSignal | undefined): Promise<QueryEnd> {
    const { host, ownAddress, random = systemRandom, timeoutMs, rounds } = this.options
    const servers = this.options.servers.filter(server => ownAddress(server.family) !== undefined)
    if (servers.length === 0) return Promise.resolve({ type: 'failed', reason: 'ESERVFAIL' })
    const query = new NameQuery({
      name,
      type: family === 4 ? AddressRecord.A : AddressRecord.AAAA,
      servers,
      random,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(rounds === undefined ? {} : { rounds }),
    })
    return new Promise<QueryEnd>((resolve, reject) => {
      const closing: (() => void)[] = []
      const finish = (settle: () => void) => {
        driver.stop()
        signal?.removeEventListener('abort', onAbort)
        for (const close of closing.splice(0)) close()
        settle()
      }
      const onAbort = () => finish(() => reject(signal!.reason as Error))
      const onOutput = (output: NameQueryOutput) => {
        switch (output.type) {
          case 'ask':
            try {
              closing.push(this.send(output, query, driver))
            } catch (error) {
              // A host that is closed, or has no port left.
              finish(() => reject(error as Error))
            }
            break
          case 'ask-by-stream':
            closing.push(askByStream(host, output, query, driver))
            break
          default:
            finish(() => resolve(output))
        }
      }
      const driver: Driver = drive(query, { onOutput, keepsProcessAlive: true })
      if (signal?.aborted) onAbort()
      else {
        signal?.addEventListener('abort', onAbort)
        driver.input(now => query.start(now))
      }
    })
  }

  /** Sends one question from a socket of its own. Returns what closes it. */
  private send(
    { attempt, server, bytes }: Extract<NameQueryOutput, { type: 'ask' }>,
    query: NameQuery,
    driver: Driver,
  ): () => void {
    const { host, ownAddress } = this.options
    const socket = new UdpSocket(host, { address: ownAddress(server.family)! })
    socket.on('message', (answer, from) => driver.input(now => query.handleDatagram(attempt, from, answer, now)))
    socket.on('unreachable', ({ kind }) => {
      if (kind !== 'packet-too-big') driver.input(now => query.handleUnreachable(attempt, now))
    })
    socket.on('close', reason => {
      if (reason) driver.input(now => query.handleUnreachable(attempt, now))
    })
    socket.send(bytes, { address: server.toString(), port: 53 })
    return () => socket.close()
  }
}

type QueryEnd = Extract<NameQueryOutput, { type: 'answered' | 'failed' }>

/** `domainToASCII` takes numbers for addresses, and passes some characters that no host name has. */
function hasNameLabels(ascii: string): boolean {
  return IpAddress.parse(ascii) === undefined && /^[a-z0-9_.-]+$/i.test(ascii)
}
