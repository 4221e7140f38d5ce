import type { ControlListener } from '@twinbore/core/io'
import type { DatagramSocket, DatagramSocketOptions } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { GatewayError } from '../../errors.ts'

export interface BoundPort {
  readonly address: string
  readonly port: number
  /** As many as were asked for, all on this port; none without a datagram channel. */
  readonly sockets: readonly DatagramSocket[]
}

/** Enough for 10 Gbit/s; what waits beyond it does so in queues by session, where nobody is in another one's way. */
const SEND_BUFFER_BYTES = 1024 * 1024

/** A port that the system chose for one of UDP and TCP may be taken for the other: so many others are tried. */
const PORT_TRIES = 16

export interface BindOptions extends Pick<DatagramSocketOptions, 'native' | 'gso' | 'gro' | 'onNotice'> {
  /** How many UDP sockets. */
  readonly sockets: number
}

/**
 * Opens TCP and UDP on one port; 0 lets the system choose. Nothing stays open when it fails.
 *
 * @throws GatewayError `ERR_GATEWAY_HOST`
 */
export async function bindPort(
  listener: Pick<ControlListener, 'listen'>,
  { address, port }: { readonly address: string; readonly port: number },
  { sockets: count, ...socketOptions }: BindOptions,
): Promise<BoundPort> {
  for (let attempt = 1; ; attempt++) {
    const sockets: DatagramSocket[] = []
    try {
      while (sockets.length < count) {
        sockets.push(
          await openDatagramSocket({
            ...socketOptions,
            address,
            port: sockets[0]?.localPort ?? port,
            sendBufferBytes: SEND_BUFFER_BYTES,
            reusePort: count > 1,
          }),
        )
      }
      return { ...(await listener.listen({ address, port: sockets[0]?.localPort ?? port })), sockets }
    } catch (cause) {
      for (const socket of sockets) socket.close()
      const code = systemCode(cause)
      if (port === 0 && code === 'EADDRINUSE' && attempt < PORT_TRIES) continue
      throw new GatewayError(
        'ERR_GATEWAY_HOST',
        `can't listen on ${address} port ${port}: ${refusalText(code) ?? String(cause)}`,
        { cause },
      )
    }
  }
}

/** The system's name of an error: in `errno` for UDP, in `code` for TCP. */
function systemCode(error: unknown): string | undefined {
  const { errno, code } = error as { errno?: unknown; code?: unknown }
  return [errno, code].find((name): name is string => typeof name === 'string')
}

function refusalText(code: string | undefined): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return 'another program has this port'
    case 'EACCES':
      return 'ports below 1024 need root or CAP_NET_BIND_SERVICE'
    case 'EADDRNOTAVAIL':
      return 'this host does not have that address'
    default:
      return undefined
  }
}
