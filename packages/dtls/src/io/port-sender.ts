import type { DatagramPort, RemoteEndpoint } from './datagram-port.ts'

/**
 * Sends on a port and closes it only when everything has gone out: a `node:dgram` socket that is closed forgets what it was
 * told to send before, which would always hit the close_notify.
 */
export class PortSender {
  private readonly port: DatagramPort
  private waiting = 0
  private isClosing = false

  constructor(port: DatagramPort) {
    this.port = port
  }

  /** Sends a datagram. One that is refused (a full queue, an unreachable network) is like one that is lost. */
  send(bytes: Uint8Array, to: RemoteEndpoint): void {
    if (this.isClosing) return
    this.waiting++
    this.port.send(bytes, to.port, to.address, () => {
      this.waiting--
      if (this.isClosing && this.waiting === 0) this.port.close()
    })
  }

  /** Closes the port once all is sent. */
  close(): void {
    if (this.isClosing) return
    this.isClosing = true
    if (this.waiting === 0) this.port.close()
  }
}
