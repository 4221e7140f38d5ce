import type { TunnelParameters } from '@twinbore/core'
import type { GatewayConfig } from './config/gateway-config.ts'

// What the program needs of a gateway and of a client. `createGateway` and `connect` give more.

/** A gateway that runs, or will. */
export interface RunnableGateway {
  /** Where it listens, after `start`. */
  readonly address: string
  readonly port: number
  /** Pin of the certificate in use: `pin-sha256:...`. */
  readonly pin: string
  /** Opens everything, or nothing. @throws GatewayError */
  start(): Promise<void>
  /**
   * Takes another configuration and the certificate as it is now, with sessions kept.
   * @throws GatewayError when it can't; the old one stays in use
   */
  reload(config: GatewayConfig): Promise<void>
  /**
   * Tells clients, waits for what is on the way, and takes everything back. `immediately` waits for nothing; it may be
   * called while an orderly stop is under way.
   */
  stop(options?: { readonly immediately?: boolean }): Promise<void>
  /** Resolves when the gateway has stopped, with the failure if it wasn't asked to. */
  readonly stopped: Promise<Error | undefined>
}

/** A client's tunnel that runs, or will. */
export interface RunnableTunnel {
  /** Logs in, opens both channels, the interface and its routes. @throws GatewayError, CoreError */
  start(): Promise<TunnelParameters>
  stop(options?: { readonly immediately?: boolean }): Promise<void>
  /** Resolves when the tunnel has ended, with the failure if it wasn't asked to. */
  readonly stopped: Promise<Error | undefined>
  /** Name of the interface, after `start`. */
  readonly interfaceName: string
}
