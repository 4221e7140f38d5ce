// Three hosts in network namespaces of their own:
//
//   client  10.99.1.2 ---- 10.99.1.1  gateway  10.2.0.1 ---- 10.2.0.2  corporate host
//     fd99:1::2        fd99:1::1       fd02::1        fd02::2
//
// The corporate host has no route to a client pool: what reaches it from there cannot be answered, so nothing works
// unless addresses are translated. Nothing outside these namespaces is touched.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { type Finished, LabProcess, type LaunchOptions, mustRun, runProgram } from './lab-process.ts'

export type HostName = 'client' | 'gateway' | 'corporate'

export const clientAddress = '10.99.1.2'
export const gatewayAddress = '10.99.1.1'
export const gatewayAddress6 = 'fd99:1::1'
export const gatewayInsideAddress = '10.2.0.1'
export const gatewayInsideAddress6 = 'fd02::1'
export const corporateAddress = '10.2.0.2'
export const corporateAddress6 = 'fd02::2'

const prefix = 'twinbore-lab-'
let count = 0
const open = new Set<LabNetwork>()
process.on('exit', () => {
  for (const network of open) network.removeNow()
})

export class LabNetwork {
  readonly #names: Readonly<Record<HostName, string>>
  readonly #processes = new Set<LabProcess>()

  private constructor(names: Readonly<Record<HostName, string>>) {
    this.#names = names
  }

  /** Makes the three hosts and their links. `close()` removes them; so does the end of this process. */
  static async create(): Promise<LabNetwork> {
    sweep()
    count += 1
    const name = (host: HostName): string => `${prefix}${process.pid}-${count}-${host}`
    const network = new LabNetwork({ client: name('client'), gateway: name('gateway'), corporate: name('corporate') })
    open.add(network)
    const { client, gateway, corporate } = network.#names
    await mustRun('ip', ['-batch', '-'], {
      input: [
        ...[client, gateway, corporate].flatMap(host => [`netns add ${host}`]),
        `link add wan0 netns ${client} type veth peer name wan0 netns ${gateway}`,
        `link add lan0 netns ${gateway} type veth peer name lan0 netns ${corporate}`,
      ].join('\n'),
    })
    await Promise.all([
      network.#configure(client, 'wan0', `${clientAddress}/24`, 'fd99:1::2/64'),
      network.#configure(gateway, 'wan0', `${gatewayAddress}/24`, `${gatewayAddress6}/64`),
      network.#configure(gateway, 'lan0', `${gatewayInsideAddress}/24`, `${gatewayInsideAddress6}/64`),
      network.#configure(corporate, 'lan0', `${corporateAddress}/24`, `${corporateAddress6}/64`),
    ])
    await network.#linksUp()
    return network
  }

  /** The namespace of a host, for programs that are started by other means. */
  namespace(host: HostName): string {
    return this.#names[host]
  }

  /** Starts a program on a host. It is ended with the network at the latest. */
  start(host: HostName, program: string, args: readonly string[], options: LaunchOptions = {}): LabProcess {
    const child = new LabProcess(program, args, { ...options, namespace: this.#names[host] })
    this.#processes.add(child)
    void child.finished.then(() => this.#processes.delete(child))
    return child
  }

  /** Runs a program on a host to its end, whatever its exit code. */
  run(
    host: HostName,
    program: string,
    args: readonly string[],
    options: LaunchOptions & { readonly timeoutMs?: number } = {},
  ): Promise<Finished> {
    return runProgram(program, args, { ...options, namespace: this.#names[host] })
  }

  /** Runs a program on a host that must succeed, and returns its standard output. */
  mustRun(
    host: HostName,
    program: string,
    args: readonly string[],
    options: LaunchOptions & { readonly timeoutMs?: number } = {},
  ): Promise<string> {
    return mustRun(program, args, { ...options, namespace: this.#names[host] })
  }

  /** Silently drops UDP of `port` on its way, in one direction or both. `openUdp` lifts it. */
  async dropUdp(port: number, direction: 'to-gateway' | 'to-client' | 'both' = 'both'): Promise<void> {
    // Always at the receiver: a drop at the sender would show there as an error of its system call.
    if (direction !== 'to-client') await this.#dropAtInput('gateway', `udp dport ${port}`)
    if (direction !== 'to-gateway') await this.#dropAtInput('client', `udp sport ${port}`)
  }

  async openUdp(): Promise<void> {
    await Promise.all([this.#openInput('gateway'), this.#openInput('client')])
  }

  /** Destroys the established TCP connections of the gateway's `port`, at both ends, as a broken middlebox does. */
  async cutTcp(port: number): Promise<void> {
    await this.mustRun('client', 'ss', ['--kill', '-tn', 'state', 'established', `( dport = :${port} )`])
    await this.mustRun('gateway', 'ss', ['--kill', '-tn', 'state', 'established', `( sport = :${port} )`])
  }

  /** Ends every process of the three hosts and removes them. */
  async close(): Promise<void> {
    await Promise.all([...this.#processes].map(child => child.stop('SIGTERM', 5_000)))
    this.removeNow()
  }

  /** As `close`, without waiting for processes to end in peace. */
  removeNow(): void {
    open.delete(this)
    for (const child of this.#processes) child.kill('SIGKILL')
    for (const name of Object.values(this.#names)) removeNamespace(name)
  }

  /** A link has its carrier a moment after both of its ends are up. */
  async #linksUp(): Promise<void> {
    for (const host of Object.keys(this.#names) as HostName[]) {
      while (
        /\bDOWN\b|LOWERLAYERDOWN/.test(await this.mustRun(host, 'ip', ['-brief', 'link', 'show', 'type', 'veth']))
      );
    }
  }

  async #configure(namespace: string, device: string, ipv4: string, ipv6: string): Promise<void> {
    const input = [
      'link set lo up',
      `addr add ${ipv4} dev ${device}`,
      `addr add ${ipv6} dev ${device} nodad`,
      `link set ${device} up`,
    ].join('\n')
    // Link-local addresses are there at once as well, so that what is compared later is complete.
    const noDad = ['all', device].map(name => `net.ipv6.conf.${name}.accept_dad=0`)
    await mustRun('ip', ['netns', 'exec', namespace, 'sysctl', '-qw', ...noDad])
    await mustRun('ip', ['-n', namespace, '-batch', '-'], { input })
  }

  async #dropAtInput(host: HostName, match: string): Promise<void> {
    await this.mustRun(host, 'nft', ['-f', '-'], {
      input: `table inet lab {\nchain drops { type filter hook input priority -300; ${match} counter drop; }\n}`,
    })
  }

  async #openInput(host: HostName): Promise<void> {
    await this.mustRun(host, 'nft', ['-f', '-'], { input: 'table inet lab\ndelete table inet lab' })
  }
}

// Only processes inside our own namespaces are ended, and only namespaces with our prefix are removed.
function removeNamespace(name: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? ''
  for (const pid of pids.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself in the meantime.
    }
  }
  spawnSync('ip', ['netns', 'delete', name])
}

// A test process that was killed outright could not clean up; the next one does.
function sweep(): void {
  const list = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? ''
  for (const line of list.split('\n')) {
    const name = line.split(' ')[0]!
    const pid = name.startsWith(prefix) ? name.slice(prefix.length).split('-')[0]! : ''
    if (pid !== '' && !existsSync(`/proc/${pid}`)) removeNamespace(name)
  }
}
