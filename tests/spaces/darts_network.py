"""The DARTS network in torch, from the released code's description: the oracle of the cost formulas.

It takes genotypes as pairs of operation and predecessor, and knows nothing of codes.
"""

from __future__ import annotations

import torch
from torch import nn


def relu_conv_bn(given, channels):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(given, channels, 1, bias=False), nn.BatchNorm2d(channels))


class FactorizedReduce(nn.Module):
    def __init__(self, given, channels):
        super().__init__()
        self.halves = nn.ModuleList(
            nn.Conv2d(given, channels // 2, 1, stride=2, bias=False) for _ in range(2)
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        x = x.relu()
        return self.norm(torch.cat([self.halves[0](x), self.halves[1](x[:, :, 1:, 1:])], dim=1))


def depthwise(c, kernel, stride, dilation):
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(c, c, kernel, stride, padding, dilation=dilation, groups=c, bias=False),
        nn.Conv2d(c, c, 1, bias=False),
        nn.BatchNorm2d(c),
    ]


def operation(name, c, stride):
    match name.split("_"):
        case "max", "pool", _:
            return nn.MaxPool2d(3, stride, padding=1)
        case "avg", "pool", _:
            return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        case "skip", _:
            return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
        case "sep", "conv", size:
            kernel = int(size[0])
            return nn.Sequential(*depthwise(c, kernel, stride, 1), *depthwise(c, kernel, 1, 1))
        case "dil", "conv", size:
            return nn.Sequential(*depthwise(c, int(size[0]), stride, 2))
    raise AssertionError(name)


class Cell(nn.Module):
    def __init__(self, pairs, older, previous, c, reduction, after_reduction):
        super().__init__()
        self.older = FactorizedReduce(older, c) if after_reduction else relu_conv_bn(older, c)
        self.previous = relu_conv_bn(previous, c)
        self.sources = [source for _, source in pairs]
        self.operations = nn.ModuleList(
            operation(name, c, 2 if reduction and source < 2 else 1) for name, source in pairs
        )

    def forward(self, older, previous):
        states = [self.older(older), self.previous(previous)]
        for first in range(0, len(self.sources), 2):
            terms = [self.operations[i](states[self.sources[i]]) for i in (first, first + 1)]
            states.append(terms[0] + terms[1])
        return torch.cat(states[2:], dim=1)


class Network(nn.Module):
    """The CIFAR network; its second classifier ``auxiliary`` is not part of ``forward``."""

    def __init__(self, normal, reduce, channels, layers, classes):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 3 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(3 * channels)
        )
        self.cells = nn.ModuleList()
        older, previous, c, after = 3 * channels, 3 * channels, channels, False
        for layer in range(layers):
            reduction = layer in (layers // 3, 2 * layers // 3)
            c = 2 * c if reduction else c
            self.cells.append(Cell(reduce if reduction else normal, older, previous, c, reduction, after))
            older, previous, after = previous, 4 * c, reduction
            if layer == 2 * layers // 3:
                self.auxiliary = nn.Sequential(
                    nn.Conv2d(previous, 128, 1, bias=False),
                    nn.BatchNorm2d(128),
                    nn.Conv2d(128, 768, 2, bias=False),
                    nn.BatchNorm2d(768),
                    nn.Linear(768, classes),
                )
        self.classifier = nn.Linear(previous, classes)

    def forward(self, x):
        older = previous = self.stem(x)
        for cell in self.cells:
            older, previous = previous, cell(older, previous)
        return self.classifier(previous.mean(dim=(2, 3)))


def network(normal, reduce, **sizes):
    """The network without storage for its weights: enough to count."""
    with torch.device("meta"):
        return Network(normal, reduce, **sizes).eval()


def weights(module):
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_accumulates(module, pixels):
    """Counted while an image runs through: of convolutions and the classifier, its bias included."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel() + layer.bias.numel()

    handles = [layer.register_forward_hook(count) for layer in module.modules()]
    module(torch.zeros(1, 3, pixels, pixels, device="meta"))
    for handle in handles:
        handle.remove()
    return total
