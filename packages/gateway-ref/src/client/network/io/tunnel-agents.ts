import { Agent as HttpAgent, type AgentOptions as HttpAgentOptions } from 'node:http'
import { type AgentOptions, Agent as HttpsAgent } from 'node:https'
import type { Duplex } from 'node:stream'
import type { FlowDuplex } from '@twinbore/tun/io'
import type { DialOptions } from './dial.ts'

/** Agents of one tunnel, for `node:http` and `node:https` and the many libraries that take such agents. */
export interface TunnelAgents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

type Dial = (options: DialOptions) => FlowDuplex

/** What an agent is asked to connect to. */
interface ConnectionTarget {
  readonly host?: string | null | undefined
  readonly port?: string | number | null | undefined
  readonly family?: number | undefined
}

/** Agents whose connections are made by `dial`, and kept for the next request. */
export function tunnelAgents(dial: Dial, tls: AgentOptions): TunnelAgents {
  const options: HttpAgentOptions = { keepAlive: true }
  return { http: new TunnelHttpAgent(dial, options), https: new TunnelHttpsAgent(dial, { ...options, ...tls }) }
}

class TunnelHttpAgent extends HttpAgent {
  private readonly dial: Dial

  constructor(dial: Dial, options: HttpAgentOptions) {
    super(options)
    this.dial = dial
  }

  override createConnection(target: ConnectionTarget): Duplex {
    return this.dial(dialTarget(target, 80))
  }
}

class TunnelHttpsAgent extends HttpsAgent {
  private readonly dial: Dial

  constructor(dial: Dial, options: AgentOptions) {
    super(options)
    this.dial = dial
  }

  override createConnection(target: ConnectionTarget, ...rest: unknown[]): Duplex | null | undefined {
    const socket = this.dial(dialTarget(target, 443))
    // Node's own takes the socket, and does TLS, server names and session resumption.
    const connect = super.createConnection as (options: object, ...rest: unknown[]) => Duplex
    return connect.call(this, { ...target, socket }, ...rest)
  }
}

function dialTarget({ host, port, family }: ConnectionTarget, defaultPort: number): DialOptions {
  return {
    host: host ?? 'localhost',
    port: Number(port ?? defaultPort),
    ...(family === 4 || family === 6 ? { family } : {}),
  }
}
