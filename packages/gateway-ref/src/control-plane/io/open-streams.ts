import type { Socket } from 'node:net'

/** The connections of streams that are open, those that are being ended included. */
export class OpenStreams {
  private readonly sockets = new Set<Socket>()

  get size(): number {
    return this.sockets.size
  }

  add(socket: Socket): void {
    this.sockets.add(socket)
    socket.once('close', () => this.sockets.delete(socket))
  }

  /** Resolves when each of them is closed, whatever closes it. */
  async closed(): Promise<void> {
    await Promise.all(Array.from(this.sockets, socket => new Promise(resolve => socket.once('close', resolve))))
  }

  destroy(): void {
    for (const socket of this.sockets) socket.destroy()
  }
}
