// What suites with real programs begin with: the three hosts, a folder of files, certificates, and a user of the gateway.
import { type LabCertificates, makeCertificates } from './certificates.ts'
import { gatewayAddress, LabNetwork } from './lab-network.ts'
import type { OpenconnectOptions } from './openconnect.ts'
import { configureGateway, type GatewaySetup } from './twinbore.ts'
import { Workspace } from './workspace.ts'

export class Lab {
  readonly network: LabNetwork
  readonly workspace: Workspace
  readonly certificates: LabCertificates

  private constructor(network: LabNetwork, workspace: Workspace, certificates: LabCertificates) {
    this.network = network
    this.workspace = workspace
    this.certificates = certificates
  }

  /** Makes all of it. `close()` takes it back; so does the end of this process. */
  static async open(): Promise<Lab> {
    const workspace = new Workspace()
    const network = await LabNetwork.create()
    return new Lab(network, workspace, await makeCertificates(workspace))
  }

  /** Writes the gateway's configuration, with the user alice unless `setup` names others, and returns the path of the file. */
  configure(setup: Omit<GatewaySetup, 'certificates'> = {}): Promise<string> {
    return configureGateway(this.workspace, { ...setup, certificates: this.certificates })
  }

  /** Where a client finds the gateway, and what it knows it by. */
  get server(): Pick<OpenconnectOptions, 'url' | 'serverPin'> {
    return { url: `https://${gatewayAddress}`, serverPin: this.certificates.gatewayPin }
  }

  /** How alice logs in there. */
  get alice(): OpenconnectOptions {
    return { ...this.server, user: 'alice', passwords: ['secret'] }
  }

  /** Ends every process of the hosts, and removes them and the files. */
  async close(): Promise<void> {
    await this.network.close()
    this.workspace.remove()
  }
}
