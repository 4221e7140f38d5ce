// Real programs as peers: started on loopback, watched by what they print, ended by their own process.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** A running program. */
export class PeerProgram {
  output = ''
  private readonly child: ChildProcessWithoutNullStreams
  private wake: () => void = () => {}
  private hasEnded = false

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args, { stdio: 'pipe', env: { ...process.env, OPENSSL_CONF: '/dev/null' } })
    const take = (chunk: Buffer): void => {
      this.output += chunk.toString('latin1')
      this.wake()
    }
    this.child.stdout.on('data', take)
    this.child.stderr.on('data', take)
    this.child.stdin.on('error', () => {})
    this.child.on('close', () => {
      this.hasEnded = true
      this.wake()
    })
  }

  /** Waits until the program has printed something. */
  async printed(pattern: RegExp, withinMs = 20_000): Promise<RegExpExecArray> {
    const deadline = Date.now() + withinMs
    for (;;) {
      const match = pattern.exec(this.output)
      if (match) return match
      if (this.hasEnded || Date.now() > deadline) {
        throw new Error(`${this.child.spawnfile} never printed ${pattern}; it printed:\n${this.output}`)
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, deadline - Date.now())
        this.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  write(text: string): void {
    this.child.stdin.write(text)
  }

  /** Closes the program's input, which most take as a wish to end. */
  endInput(): void {
    this.child.stdin.end()
  }

  async stop(): Promise<void> {
    if (this.hasEnded) return
    this.child.kill('SIGKILL')
    await once(this.child, 'close')
  }
}

/** A UDP socket bound to a free port of loopback. */
export async function boundSocket(): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return socket
}

/** A port of loopback that nobody uses right now. */
export async function freePort(): Promise<number> {
  const socket = await boundSocket()
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}
