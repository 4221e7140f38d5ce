import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type { FlowDuplex } from '@twinbore/tun/io'
import { Agent, buildConnector, fetch, type RequestInfo, type RequestInit } from 'undici'
import type { DialOptions } from './dial.ts'

/** Whom a request over TLS trusts, and who it is: a part of the options of `tls.connect`. */
export type TunnelTlsOptions = Pick<
  ConnectionOptions,
  | 'ca'
  | 'cert'
  | 'key'
  | 'passphrase'
  | 'pfx'
  | 'servername'
  | 'checkServerIdentity'
  | 'minVersion'
  | 'rejectUnauthorized'
>

/** What `fetch` takes beside the usual members. */
export interface TunnelRequestInit extends globalThis.RequestInit {
  /** For this request. Requests with the same object share connections. @defaultValue the tunnel's */
  readonly tls?: TunnelTlsOptions
}

/** `fetch` over connections of its own. */
export class TunnelFetch {
  private readonly dial: (options: DialOptions) => FlowDuplex
  private readonly tls: TunnelTlsOptions
  private readonly agents = new Map<TunnelTlsOptions, Agent>()

  constructor(dial: (options: DialOptions) => FlowDuplex, tls: TunnelTlsOptions) {
    this.dial = dial
    this.tls = tls
  }

  async fetch(input: string | URL | Request, init: TunnelRequestInit = {}): Promise<Response> {
    const { tls = this.tls, ...rest } = init
    const [url, request] = await portable(input, rest)
    // The same standard, and the same methods: only the class is undici's own.
    return (await fetch(url, { ...request, dispatcher: this.agentFor(tls) })) as unknown as Response
  }

  /** Fails what is under way. */
  async close(reason: Error): Promise<void> {
    const agents = [...this.agents.values()]
    this.agents.clear()
    await Promise.all(agents.map(agent => agent.destroy(reason)))
  }

  private agentFor(tls: TunnelTlsOptions): Agent {
    let agent = this.agents.get(tls)
    if (agent) return agent
    agent = new Agent({ connect: this.connector(tls) })
    this.agents.set(tls, agent)
    if (this.agents.size > MAX_AGENTS) this.forget()
    return agent
  }

  /** Lets go of the oldest agent that isn't the tunnel's own. What it has under way ends first. */
  private forget(): void {
    for (const [tls, agent] of this.agents) {
      if (tls === this.tls) continue
      this.agents.delete(tls)
      void agent.close()
      return
    }
  }

  private connector(tls: TunnelTlsOptions): buildConnector.connector {
    const secure = buildConnector({ ...tls, allowH2: false })
    return (options, callback) => {
      const host = options.hostname.replace(/^\[|\]$/g, '')
      const port = Number(options.port) || (options.protocol === 'https:' ? 443 : 80)
      const socket = this.dial({ host, port })
      const onError = (error: Error) => callback(error, null)
      socket.once('error', onError)
      socket.once('connect', () => {
        socket.off('error', onError)
        // What undici needs of a socket every duplex of ours has.
        const asSocket = socket as unknown as Socket
        if (options.protocol === 'https:') secure({ ...options, httpSocket: asSocket }, callback)
        else callback(null, asSocket)
      })
    }
  }
}

/** Sets of TLS options whose connections are kept at once. */
const MAX_AGENTS = 32

/** undici knows only its own `Request` and `FormData`: takes those of Node.js apart. */
async function portable(
  input: string | URL | Request,
  init: globalThis.RequestInit,
): Promise<readonly [RequestInfo, RequestInit]> {
  const known = init as unknown as RequestInit
  if (input instanceof Request) {
    const { url, method, headers, body, redirect, signal } = input
    const own = { method, headers: [...headers], redirect, signal, ...(body ? { body, duplex: 'half' as const } : {}) }
    return [url, { ...(own as unknown as RequestInit), ...known }]
  }
  if (!(init.body instanceof FormData)) return [input, known]
  const form = await new Response(init.body).blob()
  const headers = new Headers(init.headers)
  if (!headers.has('content-type')) headers.set('content-type', form.type)
  return [
    input,
    { ...known, body: new Uint8Array(await form.arrayBuffer()), headers: [...headers] as [string, string][] },
  ]
}
