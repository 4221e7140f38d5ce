/** What a shell needs of a UDP socket. `node:dgram` sockets have this shape; so can anything that carries datagrams. */
export interface DatagramPort {
  on(event: 'message', listener: (bytes: Uint8Array, from: { address: string; port: number }) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'message', listener: (bytes: Uint8Array, from: { address: string; port: number }) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  send(bytes: Uint8Array, port: number, address: string, callback?: (error: Error | null) => void): void
  close(): unknown
}

/** An address and a port. */
export interface RemoteEndpoint {
  readonly address: string
  readonly port: number
}
