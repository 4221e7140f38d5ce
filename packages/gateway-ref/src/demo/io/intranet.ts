import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { networkInterfaces } from 'node:os'
import { fileURLToPath } from 'node:url'
import { IpAddress, Prefix } from '@twinbore/core/address'
import { GatewayError } from '../../errors.ts'
import { within } from './deadline.ts'
import type { IntranetCounts, IntranetOrder, IntranetReport } from './intranet-messages.ts'

/** Where intranets get their addresses: a range for documentation (RFC 5737), so that it's in use nowhere. */
const range: Prefix = Prefix.of('203.0.113.0/24')
const linkPrefixLength = 30
const stepSeconds = 5

/**
 * A host beyond the gateway: a process in a network namespace of its own, joined to this host by a veth pair. The kernel
 * takes namespace and pair away when the process ends, and the process ends with ours.
 */
export class Intranet {
  /** What clients route into the tunnel to reach it. Wider than the link, so that the host's own way to it stays. */
  readonly routes: string = range.toString()
  readonly address: string
  /** This host's address on the link. */
  readonly hostAddress: string
  /** UDP port of the store. */
  readonly port: number
  private readonly child: ChildProcess
  private readonly device: string

  private constructor(child: ChildProcess, device: string, link: IntranetLink, port: number) {
    this.child = child
    this.device = device
    this.address = link.address
    this.hostAddress = link.hostAddress
    this.port = port
  }

  /** @param pool the prefix whose addresses must not be seen */
  static async open(pool: string, signal: AbortSignal): Promise<Intranet> {
    const script = fileURLToPath(new URL('./intranet-service.js', import.meta.url))
    const child = spawn('unshare', ['--net', '--', process.execPath, script], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    // Failures are read where an answer is waited for.
    child.on('error', () => {})
    const device = `tbd${process.pid}`
    try {
      await reportOf(child, 'waiting', signal)
      const link = chooseLink()
      addLink(device, link, child.pid!)
      const opened = reportOf(child, 'open', signal)
      send(child, { type: 'open', device: 'eth0', address: link.address, prefixLength: linkPrefixLength, pool })
      return new Intranet(child, device, link, (await opened).port)
    } catch (error) {
      close(child, device)
      throw error
    }
  }

  async counts(signal: AbortSignal): Promise<IntranetCounts> {
    const counted = reportOf(this.child, 'counted', signal)
    send(this.child, { type: 'count' })
    return counted
  }

  close(): void {
    close(this.child, this.device)
  }
}

interface IntranetLink {
  readonly address: string
  readonly hostAddress: string
}

/** The first /30 of the range that no interface of this host has yet. */
function chooseLink(): IntranetLink {
  const taken = Object.values(networkInterfaces()).flatMap(entries => entries?.map(entry => entry.address) ?? [])
  const base = range.address.toNumber()
  const at = (offset: number) => IpAddress.fromNumber(base + BigInt(offset), 4).toString()
  for (let i = 0; i < 64; i++) {
    const link = { hostAddress: at(i * 4 + 1), address: at(i * 4 + 2) }
    if (!taken.includes(link.hostAddress)) return link
  }
  throw new GatewayError(
    'ERR_GATEWAY_HOST',
    `this host uses all of ${range}, where the demonstration puts its intranet`,
  )
}

function addLink(device: string, { hostAddress }: IntranetLink, pid: number): void {
  const lines = [
    `link add ${device} type veth peer name eth0 netns ${pid}`,
    `link set ${device} addrgenmode none`,
    `addr add ${hostAddress}/${linkPrefixLength} dev ${device}`,
    `link set ${device} up`,
  ]
  const { status, stderr } = spawnSync('ip', ['-batch', '-'], { input: lines.join('\n'), encoding: 'utf8' })
  if (status === 0) return
  throw new GatewayError('ERR_GATEWAY_HOST', `no link to a network namespace could be made: ${stderr.trim()}`)
}

function close(child: ChildProcess, device: string): void {
  if (child.connected) child.disconnect()
  child.kill('SIGKILL')
  // It would go with the namespace a moment later; after this it is gone for certain, or was never there.
  spawnSync('ip', ['link', 'delete', device], { stdio: 'ignore' })
}

function send(child: ChildProcess, order: IntranetOrder): void {
  child.send(order)
}

/** The next report of a type. */
function reportOf<Type extends IntranetReport['type']>(
  child: ChildProcess,
  type: Type,
  signal: AbortSignal,
): Promise<IntranetReport & { readonly type: Type }> {
  let complaints = ''
  let stop = () => {}
  const report = new Promise<IntranetReport & { readonly type: Type }>((resolve, reject) => {
    const fail = (reason: string) =>
      reject(new GatewayError('ERR_GATEWAY_HOST', `the intranet's network namespace failed: ${reason}`))
    const onMessage = (message: IntranetReport) => {
      if (message.type === 'failed') fail(message.message)
      else if (message.type === type) resolve(message as IntranetReport & { readonly type: Type })
    }
    const onExit = (code: number | null, name: string | null) => fail(complaints.trim() || `ended with ${code ?? name}`)
    const onError = (error: Error) => fail(error.message)
    const onComplaint = (bytes: Buffer) => {
      complaints = (complaints + bytes.toString()).slice(-500)
    }
    child.on('message', onMessage).on('close', onExit).on('error', onError)
    child.stderr?.on('data', onComplaint)
    stop = () => {
      child.off('message', onMessage).off('close', onExit).off('error', onError)
      child.stderr?.off('data', onComplaint)
    }
  })
  return within(report, stepSeconds, 'the intranet', signal).finally(stop)
}
