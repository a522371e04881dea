// The files that a message will take along.

import type { FileUIPart } from 'ai';

import { Attachment } from './Attachment';

interface Props {
  files: FileUIPart[];
  onRemove: (index: number) => void;
}

export function Attachments({ files, onRemove }: Props) {
  if (files.length === 0) return null;
  return (
    <ul className="attachments" aria-label="Attached files">
      {files.map((file, index) => (
        <li key={index}>
          <Attachment file={file} />
          <button
            type="button"
            className="quiet small"
            aria-label={`Remove ${file.filename ?? 'file'}`}
            onClick={() => onRemove(index)}
          >
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}
