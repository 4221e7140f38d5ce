import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { IssuedCertificate } from './certificates.ts'

export interface Ocserv {
  readonly port: number
  /** What it has logged so far. */
  log(): string
  stop(): Promise<void>
}

/**
 * Starts ocserv in the foreground on loopback, and resolves when it takes connections. In `extra` configuration lines
 * PASSWD is its password file and DIRECTORY its temporary directory, in which `files` are written.
 */
export async function startOcserv(
  server: IssuedCertificate,
  users: Readonly<Record<string, string>>,
  extra: string,
  files: Readonly<Record<string, string>> = {},
): Promise<Ocserv> {
  const directory = mkdtempSync(join(tmpdir(), 'twinbore-ocserv-'))
  const file = (name: string) => join(directory, name)
  const port = await freePort()
  writeFileSync(file('passwd'), '')
  for (const [name, password] of Object.entries(users)) {
    execFileSync('ocpasswd', ['-c', file('passwd'), '-g', 'staff,ops', name], { input: `${password}\n${password}\n` })
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(file(name), content)
  const device = `tbl${process.pid % 100_000}`
  writeFileSync(
    file('ocserv.conf'),
    `${extra.includes('auth =') ? '' : `auth = "plain[passwd=${file('passwd')}]"\n`}${extra.replaceAll('PASSWD', file('passwd')).replaceAll('DIRECTORY', directory)}
tcp-port = ${port}
udp-port = ${port}
listen-host = 127.0.0.1
run-as-user = root
run-as-group = root
socket-file = ${file('socket')}
pid-file = ${file('pid')}
server-cert = ${server.certFile}
server-key = ${server.keyFile}
isolate-workers = false
max-clients = 8
max-same-clients = 8
max-ban-score = 0
auth-timeout = 30
cookie-timeout = 60
dpd = 25
keepalive = 300
mtu = 1400
predictable-ips = false
device = ${device}
ipv4-network = 10.213.77.0
ipv4-netmask = 255.255.255.0
ipv6-network = fd13:7777::/64
ipv6-subnet-prefix = 128
dns = 10.213.78.2
default-domain = corp.example
tls-priorities = "NORMAL:%SERVER_PRECEDENCE:-VERS-TLS1.0:-VERS-TLS1.1"
`,
  )
  const child = spawn('ocserv', ['-f', '-d', '1', '-c', file('ocserv.conf')], { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  await new Promise<void>((resolve, reject) => {
    const timer = globalThis.setTimeout(() => reject(new Error(`ocserv did not start:\n${log}`)), 20_000)
    const onText = (chunk: Buffer) => {
      log += chunk
      if (!log.includes('sec-mod initialized')) return
      clearTimeout(timer)
      resolve()
    }
    child.stdout.on('data', onText)
    child.stderr.on('data', onText)
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`ocserv ended with ${code}:\n${log}`)))
  })
  await untilOpen(port)
  return { port, log: () => log, stop: () => stop(child, directory) }
}

async function stop(child: ChildProcess, directory: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise(resolve => child.once('close', resolve))
    const timer = globalThis.setTimeout(() => child.kill('SIGKILL'), 10_000)
    child.kill('SIGTERM')
    await ended
    clearTimeout(timer)
  }
  rmSync(directory, { recursive: true, force: true })
}

/** It says that it listens a moment before it does. */
async function untilOpen(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const open = await new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1', () => resolve(true))
      socket.on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await setTimeout(25)
  }
  throw new Error(`nothing listens on port ${port}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
