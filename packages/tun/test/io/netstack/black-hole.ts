// A TCP port on every loopback address that never answers: its listener stands still and its queue is full.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const listener = `
const server = require('node:net').createServer()
server.listen({ host: '0.0.0.0', port: 0, backlog: 1 }, () => console.log(server.address().port))
`

export class BlackHole {
  readonly port: number
  private readonly child: ChildProcess
  private readonly fillers: readonly Socket[]

  private constructor(port: number, child: ChildProcess, fillers: readonly Socket[]) {
    this.port = port
    this.child = child
    this.fillers = fillers
  }

  static async open(): Promise<BlackHole> {
    const child = spawn(process.execPath, ['-e', listener], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    const port = Number(line.toString())
    child.kill('SIGSTOP')
    // A queue of one has room for two; the others fill whatever more this kernel gives.
    const fillers = Array.from({ length: 6 }, () => connect({ host: '127.0.0.1', port }))
    for (const socket of fillers) socket.on('error', () => {})
    await Promise.all(fillers.slice(0, 2).map(socket => once(socket, 'connect')))
    return new BlackHole(port, child, fillers)
  }

  close(): void {
    for (const socket of this.fillers) socket.destroy()
    this.child.kill('SIGKILL')
  }
}
