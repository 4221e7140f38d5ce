import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'

/** The longest file that the intranet keeps. */
const MAX_FILE_BYTES = 64 * 1024 * 1024
/** What its front page says. */
export const GREETING = 'Welcome to the intranet.'

/**
 * A small web server beyond the gateway. It listens on the loopback only.
 *
 *     GET /         a greeting
 *     GET /whoami   where the request came from, as `address:port`
 *     PUT /file     keeps a file; answers with its SHA-256
 *     GET /file     the file
 */
export class Intranet {
  readonly address: string
  readonly port: number
  /** Where connections came from. */
  readonly sources: Set<string> = new Set()
  /** Requests answered so far. */
  requests = 0
  private readonly server: Server
  private file: Uint8Array = new Uint8Array(0)

  private constructor(server: Server) {
    this.server = server
    const { address, port } = server.address() as AddressInfo
    this.address = address
    this.port = port
    server.on('connection', (socket: Socket) => this.sources.add(socket.remoteAddress ?? 'unknown'))
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.requests++
      this.answer(request, response).catch(() => response.destroy())
    })
  }

  static async open(): Promise<Intranet> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    return new Intranet(server)
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise(resolve => this.server.close(resolve))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url, socket } = request
    if (method === 'GET' && url === '/') {
      response.end(`${GREETING}\n`)
    } else if (method === 'GET' && url === '/whoami') {
      response.end(`${socket.remoteAddress}:${socket.remotePort}\n`)
    } else if (method === 'PUT' && url === '/file') {
      if (Number(request.headers['content-length'] ?? Number.NaN) <= MAX_FILE_BYTES) {
        this.file = await buffer(request)
        response.end(createHash('sha256').update(this.file).digest('hex'))
      } else response.writeHead(413).end()
    } else if (method === 'GET' && url === '/file') {
      response.setHeader('content-length', this.file.length)
      response.end(this.file)
    } else {
      response.writeHead(404).end()
    }
  }
}
