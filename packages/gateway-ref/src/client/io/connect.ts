import type { Logger } from '../../log/logger.ts'
import type { ConnectOptions } from '../client-options.ts'
import type { TunnelSettings } from '../tunnel-settings.ts'
import { systemInterface } from './system-interface.ts'
import { TunnelClient } from './tunnel-client.ts'

/**
 * Logs in at a gateway and brings a tunnel up. Resolves when packets can pass, by the stream channel at first; the
 * datagram channel takes over once it is proven (`channel-changed`).
 *
 * @throws CoreError when the gateway can't be reached, isn't trusted, or refuses; GatewayError, TunError for the interface
 * @example
 * const tunnel = await connect({ url: 'https://vpn.example', credentials: { username: 'anna', password } })
 * tunnel.on('channel-changed', ({ to }) => console.log(`data goes by ${to}`))
 */
export async function connect(options: ConnectOptions): Promise<TunnelClient> {
  const client = new TunnelClient(options)
  await client.start()
  return client
}

/** The tunnel of the program's `connect`: a kernel TUN, with or without routes. */
export function programTunnel(settings: TunnelSettings, log: Logger): TunnelClient {
  const { interfaceName, routes, ...options } = settings
  return new TunnelClient({
    ...options,
    log,
    interface: systemInterface({ routes, log, ...(interfaceName === undefined ? {} : { name: interfaceName }) }),
  })
}
