import type { PacketDevice } from '@twinbore/tun'
import { forgetConnections, LinkSettings, openTun, openTunQueues, type TunDevice } from '@twinbore/tun/io'
import { GatewayError } from '../../errors.ts'
import type { DeviceHandover, Egress, EgressSettings, Translation } from '../egress.ts'
import type { EgressPlan } from '../egress-plan.ts'
import { HostAddressDevice } from '../host-address-device.ts'
import { removalScript, tableName } from '../nft-rules.ts'
import { SocketsEgress } from '../sockets/io/sockets-egress.ts'
import { decodeRecord, encodeRecord, type HostRecord } from './host-record.ts'
import { KernelSettings, restoreSettings } from './kernel-settings.ts'
import { listTable, loadScript } from './nft.ts'
import { prepareKernel } from './prepare-kernel.ts'
import { prepareHostAddress, prepareOwnAddresses } from './prepare-translate.ts'

/** The way out that the configuration asks for. Nothing happens before `start`. */
export function createEgress(settings: EgressSettings): Egress {
  if (settings.config.mode === 'sockets') return new SocketsEgress(settings)
  const prepare =
    settings.config.mode === 'kernel'
      ? prepareKernel
      : settings.config.addresses.length > 0
        ? prepareOwnAddresses
        : prepareHostAddress
  return new HostEgress(settings, prepare)
}

type Prepare = (settings: EgressSettings, links: LinkSettings, kernel: KernelSettings) => EgressPlan

const FORWARD_IPV4 = 'net/ipv4/ip_forward'
const FORWARD_IPV6 = 'net/ipv6/conf/all/forwarding'

class HostEgress implements Egress {
  readonly mode: Egress['mode']
  private readonly settings: EgressSettings
  private readonly prepare: Prepare
  private readonly table: string
  private readonly kernel = new KernelSettings()
  private links: LinkSettings | undefined
  private plan: EgressPlan | undefined
  private opened: PacketDevice | undefined
  private queues: readonly TunDevice[] = []
  private armed = false

  constructor(settings: EgressSettings, prepare: Prepare) {
    this.mode = settings.config.mode
    this.settings = settings
    this.prepare = prepare
    this.table = tableName(settings.instance)
  }

  get device(): PacketDevice {
    if (!this.opened) throw new TypeError('the egress is not started')
    return this.opened
  }

  get handovers(): readonly DeviceHandover[] {
    if (!this.opened || !this.plan) throw new TypeError('the egress is not started')
    const addressPairs = this.plan.addressPairs.map(({ host, transit }) => ({ host: `${host}`, transit: `${transit}` }))
    return this.queues.map(({ handle }) => ({ tun: handle, addressPairs }))
  }

  get translation(): Translation | undefined {
    if (!this.plan) throw new TypeError('the egress is not started')
    return this.plan.translation
  }

  async start(): Promise<void> {
    if (this.links) throw new TypeError('the egress is started already')
    try {
      this.links = new LinkSettings()
      await this.clearUp(this.links)
      await this.arm(this.links)
    } catch (error) {
      await this.stop()
      if (error instanceof GatewayError) throw error
      throw new GatewayError('ERR_GATEWAY_HOST', error instanceof Error ? error.message : String(error), {
        cause: error,
      })
    }
  }

  async stop(): Promise<void> {
    // Addresses and routes of the device go with it. Forwarding goes before the rules, so that nothing passes between.
    for (const queue of this.queues) queue.close()
    this.queues = []
    this.opened = undefined
    this.kernel.restore()
    for (const { device, address } of this.plan?.proxies ?? []) this.links?.removeProxyNeighbour(device, address)
    this.plan = undefined
    this.links?.close()
    this.links = undefined
    if (!this.armed) return
    this.armed = false
    await this.removeRules()
  }

  /**
   * A host that goes on forwarding and translating for others would also go on translating answers back to clients:
   * the kernel forgets their connections while the rules still keep pool addresses in.
   */
  private async removeRules(): Promise<void> {
    const { ipv4, ipv6 } = this.settings.pool
    if (this.mode === 'kernel') forgetConnections([ipv4, ipv6].flatMap(prefix => (prefix ? [`${prefix}`] : [])))
    await loadScript(removalScript(this.table))
  }

  /** Removes what a gateway of the same name left when it died. */
  private async clearUp(links: LinkSettings): Promise<void> {
    const listing = await listTable(this.table)
    if (listing === undefined) return
    const record = decodeRecord(listing)
    if (record && links.link(record.device)) {
      throw new GatewayError(
        'ERR_GATEWAY_HOST',
        `another gateway named '${this.settings.instance}' is running on this host (interface ${record.device})`,
      )
    }
    this.settings.log.warn('a gateway of this name ended without cleaning up: its rules and settings are taken back', {
      table: this.table,
    })
    if (record) restoreSettings(record.settings)
    for (const { device, address } of record?.proxies ?? []) {
      if (links.link(device)) links.removeProxyNeighbour(device, address)
    }
    await this.removeRules()
  }

  private async arm(links: LinkSettings): Promise<void> {
    const plan = this.prepare(this.settings, links, this.kernel)
    this.plan = plan
    const name = this.settings.deviceName ?? 'tb%d'
    const { offload = 'all', queues: count = 1 } = this.settings
    const options = { name, mtu: plan.mtu, addresses: plan.addresses, offload }
    this.queues = count === 1 ? [openTun(options)] : openTunQueues({ ...options, count })
    const tun = this.queues[0]!
    const { addressPairs } = plan
    this.opened = addressPairs.length > 0 ? new HostAddressDevice(tun, addressPairs) : tun

    const forwarded = { ipv4: this.kernel.read(FORWARD_IPV4) === '1', ipv6: this.kernel.read(FORWARD_IPV6) === '1' }
    const wanted = this.wantedSettings(plan, forwarded)
    for (const setting of Object.keys(wanted)) this.kernel.remember(setting)
    const record: HostRecord = { device: tun.name, settings: this.kernel.saved, proxies: plan.proxies }
    await this.load(plan.scripts(tun.name, encodeRecord(record), { ipv4: !forwarded.ipv4, ipv6: !forwarded.ipv6 }))

    for (const destination of plan.routes) links.replaceRoute({ destination, device: tun.name })
    for (const { device, address } of plan.proxies) links.addProxyNeighbour(device, address)
    for (const [setting, value] of Object.entries(wanted)) this.kernel.write(setting, value)
  }

  /** The plan's settings, and forwarding last. */
  private wantedSettings(plan: EgressPlan, forwarded: { ipv4: boolean; ipv6: boolean }): Record<string, string> {
    const wanted: Record<string, string> = { ...plan.settings }
    if (this.settings.pool.ipv6 && !forwarded.ipv6) {
      // A router ignores router advertisements unless told otherwise (2): the host must not lose its own routes.
      for (const { name } of this.links?.links() ?? []) {
        if (
          name !== 'lo' &&
          name !== this.opened?.name &&
          this.kernel.read(`net/ipv6/conf/${name}/accept_ra`) === '1'
        ) {
          wanted[`net/ipv6/conf/${name}/accept_ra`] = '2'
        }
      }
      wanted[FORWARD_IPV6] = '1'
    }
    if (this.settings.pool.ipv4 && !forwarded.ipv4) wanted[FORWARD_IPV4] = '1'
    return wanted
  }

  private async load(scripts: readonly string[]): Promise<void> {
    this.armed = true
    for (const [i, script] of scripts.entries()) {
      try {
        await loadScript(script)
        return
      } catch (error) {
        if (i === scripts.length - 1) throw error
        this.settings.log.warn('this kernel lacks a feature of the rules; going on without it', {
          reason: error instanceof Error ? error.message : String(error),
        })
      }
    }
  }
}
