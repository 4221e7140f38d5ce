import type { asn1 as Asn1, pkcs12 as Pkcs12 } from 'node-forge'

/** What a PKCS#12 file holds, as PEM, in the order of the file. */
export interface Pkcs12Content {
  readonly certificates: readonly string[]
  readonly keys: readonly string[]
}

/**
 * Opens a PKCS#12 file (RFC 7292), with keys of any type. node-forge is loaded on the first call only.
 *
 * @throws Error when the file is damaged or the passphrase is wrong
 */
export async function readPkcs12(bytes: Uint8Array, passphrase: string): Promise<Pkcs12Content> {
  const { default: forge } = await import('node-forge')
  const der = forge.util.createBuffer(Buffer.from(bytes).toString('binary'))
  const store = forge.pkcs12.pkcs12FromAsn1(forge.asn1.fromDer(der), false, passphrase)

  const bagsOf = (type: string): Pkcs12.Bag[] => store.getBags({ bagType: type })[type] ?? []
  const toPem = (label: string, value: Asn1.Asn1) => {
    const base64 = Buffer.from(forge.asn1.toDer(value).getBytes(), 'binary').toString('base64')
    return `-----BEGIN ${label}-----\n${base64.replace(/(.{64})(?=.)/g, '$1\n')}\n-----END ${label}-----\n`
  }

  const { certBag, keyBag, pkcs8ShroudedKeyBag } = forge.pki.oids as Record<string, string>
  // node-forge understands RSA only; what it doesn't understand it hands over as the ASN.1 it found.
  const certificates = bagsOf(certBag!).map(bag =>
    toPem('CERTIFICATE', bag.cert ? forge.pki.certificateToAsn1(bag.cert) : bag.asn1),
  )
  const keys = [...bagsOf(pkcs8ShroudedKeyBag!), ...bagsOf(keyBag!)].map(bag =>
    toPem('PRIVATE KEY', bag.key ? forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(bag.key)) : bag.asn1),
  )
  return { certificates, keys }
}
