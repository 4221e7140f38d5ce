// A namespace with a process of ours on a TUN in it: the kernel's TCP on one side of the device, ours on the other.
import { fileURLToPath } from 'node:url'
import { LabProcess, mustRun, runProgram } from './lab-process.ts'

let count = 0

export class NetstackNamespace {
  readonly name: string
  readonly #processes: LabProcess[] = []

  private constructor(name: string) {
    this.name = name
  }

  /** Makes a namespace with these settings. `close` removes it and ends what runs in it. */
  static async create(settings: Readonly<Record<string, string | number>> = {}): Promise<NetstackNamespace> {
    count += 1
    const one = new NetstackNamespace(`netstack-${process.pid}-${count}`)
    await mustRun('ip', ['netns', 'add', one.name])
    await one.ip('link', 'set', 'lo', 'up')
    const words = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
    if (words.length > 0) await mustRun('sysctl', ['-qw', ...words], { namespace: one.name })
    return one
  }

  /** Starts a script of this folder and waits until it says that it is ready. Its standard input stays open. */
  async start(script: URL, ...args: string[]): Promise<LabProcess> {
    const words = ['--import', 'tsx', '--conditions=@twinbore/source', fileURLToPath(script), ...args]
    const started = new LabProcess(process.execPath, words, { namespace: this.name, input: '', keepInputOpen: true })
    this.#processes.push(started)
    await started.waitFor(/"ready"/)
    return started
  }

  ip(...words: string[]): Promise<string> {
    return mustRun('ip', ['-n', this.name, ...words])
  }

  /** Routes to a TUN anew, with settings of the kernel's TCP for those who are behind it. */
  async route(device: string, v4: string, v6: string, ...settings: string[]): Promise<void> {
    // The kernel made them with the addresses.
    await runProgram('ip', ['-n', this.name, 'route', 'del', v4, 'dev', device])
    await runProgram('ip', ['-n', this.name, '-6', 'route', 'del', v6, 'dev', device])
    await this.ip('route', 'add', v4, 'dev', device, ...settings)
    await this.ip('-6', 'route', 'add', v6, 'dev', device, 'metric', '256', ...settings)
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(one => one.stop('SIGKILL')))
    await mustRun('ip', ['netns', 'del', this.name])
  }
}
