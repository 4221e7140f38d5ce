import type { IpAddress } from '@twinbore/core/address'
import { type FlowDuplex, type StackHost, UdpSocket, type UdpSocketOptions } from '@twinbore/tun/io'
import { type DialHands, type DialOptions, dial } from './dial.ts'
import { nameError } from './name-error.ts'
import { type ResolvedAddress, Resolver } from './resolver.ts'
import { type TunnelAgents, tunnelAgents } from './tunnel-agents.ts'
import { TunnelFetch, type TunnelRequestInit, type TunnelTlsOptions } from './tunnel-fetch.ts'

export interface LookupOptions {
  /** @defaultValue both, IPv6 first */
  readonly family?: 4 | 6
  readonly signal?: AbortSignal
}

export interface CreateUdpSocketOptions extends Omit<UdpSocketOptions, 'address'> {
  /** Of which family the remotes are. @defaultValue 4, or 6 where the tunnel has no IPv4 address */
  readonly family?: 4 | 6
}

/** What the gateway granted, as far as it is about reaching others. */
export interface NetworkParameters {
  readonly addresses: readonly IpAddress[]
  readonly nameServers: readonly IpAddress[]
  readonly searchDomains: readonly string[]
}

/** What lies beyond a tunnel, for programs: connections, names, pages and datagrams, without a part of the operating system. */
export class TunnelNetwork {
  /** For `node:http` and `node:https`: connections are kept for the next request. */
  readonly agent: TunnelAgents
  private readonly fetcher: TunnelFetch
  private readonly host: StackHost
  private parameters: NetworkParameters
  private hands: DialHands

  constructor(host: StackHost, parameters: NetworkParameters, tls: TunnelTlsOptions = {}) {
    this.host = host
    this.parameters = parameters
    this.hands = this.handsOf()
    const connect = (options: DialOptions) => this.connect(options)
    this.agent = tunnelAgents(connect, tls)
    this.fetcher = new TunnelFetch(connect, tls)
  }

  /** The gateway has granted other parameters. */
  update(parameters: NetworkParameters): void {
    this.parameters = parameters
    this.hands = this.handsOf()
  }

  /** See `TunnelClient.connect`. */
  connect(options: DialOptions): FlowDuplex {
    checkPort(options.port)
    if (typeof options.host !== 'string' || options.host === '')
      throw new TypeError('host must be a name or an address')
    return dial(this.hands, options)
  }

  /** See `TunnelClient.lookup`. */
  async lookup(name: string, { family, signal }: LookupOptions = {}): Promise<readonly ResolvedAddress[]> {
    const families = this.hands.families.filter(known => (family ?? known) === known)
    const { resolver } = this.hands
    const results = await Promise.allSettled(families.map(known => resolver.resolve(name, known, signal)))
    signal?.throwIfAborted()
    const found = results.flatMap(result => (result.status === 'fulfilled' ? result.value : []))
    if (found.length > 0) return found
    const reasons = results.flatMap(result => (result.status === 'rejected' ? [result.reason as Error] : []))
    throw (
      reasons.find(reason => (reason as NodeJS.ErrnoException).code !== 'ENODATA') ??
      reasons[0] ??
      nameError('ENODATA', name)
    )
  }

  /** See `TunnelClient.fetch`. */
  fetch(input: string | URL | Request, init?: TunnelRequestInit): Promise<Response> {
    return this.fetcher.fetch(input, init)
  }

  /** See `TunnelClient.createUdpSocket`. */
  createUdpSocket({ family, ...options }: CreateUdpSocketOptions = {}): UdpSocket {
    const address = this.ownAddress(family ?? (this.ownAddress(4) ? 4 : 6))
    if (address === undefined) throw new RangeError(`family must be one that the tunnel has an address of`)
    return new UdpSocket(this.host, { ...options, address })
  }

  /** The tunnel is over: whatever is open ends with the reason. */
  close(reason: Error): void {
    this.host.close(reason)
    this.agent.http.destroy()
    this.agent.https.destroy()
    void this.fetcher.close(reason)
  }

  private ownAddress(family: 4 | 6): string | undefined {
    return this.parameters.addresses.find(address => address.family === family)?.toString()
  }

  private handsOf(): DialHands {
    const { host } = this
    const { nameServers: servers, searchDomains } = this.parameters
    const ownAddress = (family: 4 | 6) => this.ownAddress(family)
    const families = ([6, 4] as const).filter(family => ownAddress(family) !== undefined)
    return { host, families, resolver: new Resolver({ host, servers, searchDomains, ownAddress }) }
  }
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError('port must be from 1 to 65535')
}
