// A file that goes with a message: not sent yet, or in the user's workspace.

import type { FileUIPart } from 'ai';

import { Download } from '../page/Download';

export function Attachment({ file: { url, mediaType, filename } }: { file: FileUIPart }) {
  const name = filename ?? 'file';
  // The token is for nobody else.
  if (url.startsWith('/api/')) return <Download url={url} name={name} />;
  if (url.startsWith('data:') && mediaType.startsWith('image/')) return <img className="thumbnail" src={url} alt={name} title={name} />;
  return <span className="chip">{name}</span>;
}
