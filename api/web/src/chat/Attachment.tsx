// A file that goes with a message.

import type { FileUIPart } from 'ai';

export function Attachment({ file }: { file: FileUIPart }) {
  const name = file.filename ?? 'file';
  if (file.mediaType.startsWith('image/') && file.url.startsWith('data:')) {
    return <img className="thumbnail" src={file.url} alt={name} title={name} />;
  }
  return <span className="chip">{name}</span>;
}
